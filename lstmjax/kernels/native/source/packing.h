// Weights put in the order in which products read them.
#pragma once
#include "rows.h"

namespace lstmjax::LSTMJAX_ISA {

// Rows that are placed together, so that what is written to a panel is a stretch of memory.
constexpr Index rows_at_once = 8;

// Rows begin .. end of a matrix [rows, gates * units] into each panel: those gates that are multiplied together.
template <class S>
void place_rows(Element element, const void* matrix, Index rows, const Panels<S>& panels, Gates gates, Index begin,
                Index end, S* packed) {
  for (Index p = 0; p < panels.count(); ++p) {
    const Index width = panels.width(p), wide = divide_up(gates.count() * width, lanes<S>) * lanes<S>;
    for (Index k = begin; k < end; ++k) {
      S* const to = packed + (panels.before(p) + gates.begin * width) * rows + k * wide;
      if (panels.used(p) < lanes<S>) clear(to, wide);
      for (int g = 0; g < gates.count(); ++g) {
        read(element, matrix, (k * panels.gates + gates.begin + g) * panels.units + p * lanes<S>, panels.used(p),
             to + g * width);
      }
    }
  }
}

template <class S>
void pack(const Panels<S>& panels, const Weights& weights, const Crew& crew, S* packed) {
  const Element sums = sizeof(S) == 8 ? Element::float64 : Element::float32;
  const Gates all{0, panels.gates};
  const auto place = [&](Element element, const void* matrix, Index rows, Gates gates, const S* to) {
    crew.split(divide_up(rows, rows_at_once), [&](Index from, Index until) {
      for (Index block = from; block < until; ++block) {
        const Index begin = block * rows_at_once, end = begin + rows_at_once < rows ? begin + rows_at_once : rows;
        place_rows(element, matrix, rows, panels, gates, begin, end, const_cast<S*>(to));
      }
    });
  };
  const Packed<S> parts(packed, panels, weights.inputs);
  place(weights.element, weights.w_x, weights.inputs, all, parts.w_x);
  place(weights.element, weights.w_h, weights.hidden, {0, panels.gates_of_h}, parts.w_h);
  if (panels.gates_of_h < panels.gates)
    place(weights.element, weights.w_h, weights.hidden, {panels.gates_of_h, panels.gates}, parts.w_h);
  clear(const_cast<S*>(parts.b), 2 * panels.total());
  if (weights.b) place(sums, weights.b, 1, all, parts.b);
  if (weights.b_h) place(sums, weights.b_h, 1, all, parts.b_h);
}

// A vector's worth of rows of w [rows, gates * units], as columns beside each other. `block` has room for them.
template <class S>
void turn_rows(Element element, const void* w, Index rows, const Panels<S>& panels, Index begin, S* block, S* packed) {
  const Columns<S> columns(rows);
  const Index width = panels.gates * panels.units, q = begin / columns.wide, span = columns.vectors(q) * lanes<S>;
  for (Index n = 0; n < lanes<S>; ++n) {
    if (begin + n < rows) {
      read(element, w, (begin + n) * width, width, block + n * width);
    } else {
      clear(block + n * width, width);
    }
  }
  S* to = packed + q * columns.wide * panels.total() + begin % columns.wide;
  for (Index p = 0; p < panels.count(); ++p) {
    const Index used = panels.used(p);
    for (Index place = 0; place < panels.row(p); ++place, to += span) {
      const Index gate = place / panels.width(p), unit = place % panels.width(p);
      const bool is_there = gate < panels.gates && unit < used;
      const S* const from = block + gate * panels.units + p * lanes<S> + unit;
      for (Index n = 0; n < lanes<S>; ++n) to[n] = is_there ? from[n * width] : S{0};
    }
  }
}

// w [rows, gates * units] turned: for each panel of columns (rows of w), the gates' numbers in the order of `panels`.
template <class S>
void turn_matrix(Element element, const void* w, Index rows, const Panels<S>& panels, const Crew& crew, S* packed) {
  crew.split(Columns<S>(rows).padded() / lanes<S>, [&](Index from, Index until) {
    const Scratch block(static_cast<std::size_t>(lanes<S> * panels.gates * panels.units) * sizeof(S));
    for (Index i = from; i < until; ++i) turn_rows(element, w, rows, panels, i * lanes<S>, block.as<S>(), packed);
  });
}

// W_h turned, then W_x turned.
template <class S>
void turn(const Panels<S>& panels, const Weights& weights, const Crew& crew, S* packed) {
  turn_matrix(weights.element, weights.w_h, weights.hidden, panels, crew, packed);
  packed += panels.total() * Columns<S>(weights.hidden).padded();
  turn_matrix(weights.element, weights.w_x, weights.inputs, panels, crew, packed);
}

}  // namespace lstmjax::LSTMJAX_ISA
