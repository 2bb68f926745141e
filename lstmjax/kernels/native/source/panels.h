// How weights are laid out. Hidden units are taken a vector at a time; a panel holds, for these units, the gates side by side:
//
//     panel p, row k:   gate 0 of units u .. u + width,   gate 1 of them,   ...
//
// so that a product leaves in registers all that a cell needs of its units. The last panel is as narrow as what is left allows.
#pragma once
#include "vectors.h"

namespace lstmjax::LSTMJAX_ISA {

constexpr Index divide_up(Index a, Index b) { return (a + b - 1) / b; }

// The width of the last panel: a vector, a half or a quarter of one.
template <class S>
inline int narrowest(Index units) {
  int width = lanes<S>;
  while (width > 2 && width > lanes<S> / 4 && units <= width / 2) width /= 2;
  return width;
}

// Panels of `gates` gates over `units` units.
template <class S>
struct Panels {
  Index units, full;  // full panels, then one of `last` units where last > 0
  int gates, last;

  Panels(Index units_, int gates_)
      : units(units_), full(units_ / lanes<S>), gates(gates_), last(units_ % lanes<S> ? narrowest<S>(units_ % lanes<S>) : 0) {}

  Index count() const { return full + (last > 0); }
  Index padded() const { return full * lanes<S> + last; }  // units
  int width(Index p) const { return p < full ? lanes<S> : last; }
  int vectors(Index p) const { return static_cast<int>(divide_up(gates * width(p), lanes<S>)); }
  Index row(Index p) const { return vectors(p) * lanes<S>; }  // numbers in a row of panel p
  Index before(Index p) const { return p * gates * lanes<S>; }  // numbers of one row in the panels before p
  Index total() const { return before(full) + (last > 0 ? row(full) : 0); }
  Index used(Index p) const { return units - p * lanes<S> < width(p) ? units - p * lanes<S> : width(p); }
};

// Where the parts of packed weights begin: w_x, w_h, and the biases of their products.
template <class S>
struct Packed {
  const S *w_x, *w_h, *b, *b_h;
  Packed(const void* data, const Panels<S>& panels, Index inputs)
      : w_x(static_cast<const S*>(data)),
        w_h(w_x + inputs * panels.total()),
        b(w_h + panels.units * panels.total()),
        b_h(b + panels.total()) {}
};

// Turned weights: the gates' numbers, in the order of panels, times columns, which are again in panels of up to four vectors.
template <class S>
struct Columns {
  static constexpr Index wide = 4 * lanes<S>;
  Index columns;
  explicit Columns(Index columns_) : columns(columns_) {}
  Index count() const { return divide_up(columns, wide); }
  int vectors(Index q) const { return q + 1 < count() ? 4 : static_cast<int>(divide_up(columns - q * wide, lanes<S>)); }
  Index padded() const { return divide_up(columns, lanes<S>) * lanes<S>; }
  Index used(Index q) const { return columns - q * wide < wide ? columns - q * wide : wide; }
};

inline float widen(uint16_t half) {
  const uint32_t bits = uint32_t{half} << 16;
  float x;
  __builtin_memcpy(&x, &bits, sizeof x);
  return x;
}

// To the nearest bfloat16, ties to even; NaN stays NaN.
inline uint16_t narrow(float x) {
  uint32_t bits;
  __builtin_memcpy(&bits, &x, sizeof bits);
  if (x != x) return static_cast<uint16_t>((bits >> 16) | 0x40);
  return static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

// Copies `count` numbers of the caller's `element`, from number `at` on, to floats or doubles.
template <class S>
inline void read(Element element, const void* from, Index at, Index count, S* to) {
  if (element == Element::bfloat16) {
    const uint16_t* halves = static_cast<const uint16_t*>(from) + at;
    for (Index j = 0; j < count; ++j) to[j] = static_cast<S>(widen(halves[j]));
  } else {
    __builtin_memcpy(to, static_cast<const S*>(from) + at, static_cast<std::size_t>(count) * sizeof(S));
  }
}

template <class S>
inline void write(Element element, const S* from, Index count, void* to, Index at) {
  if (element == Element::bfloat16) {
    uint16_t* halves = static_cast<uint16_t*>(to) + at;
    for (Index j = 0; j < count; ++j) halves[j] = narrow(static_cast<float>(from[j]));
  } else {
    __builtin_memcpy(static_cast<S*>(to) + at, from, static_cast<std::size_t>(count) * sizeof(S));
  }
}

inline const void* at(Element element, const void* data, Index i) {
  const Index bytes = element == Element::float64 ? 8 : element == Element::float32 ? 4 : 2;
  return static_cast<const char*>(data) + i * bytes;
}

template <class S>
inline void clear(S* to, Index count) {
  __builtin_memset(to, 0, static_cast<std::size_t>(count) * sizeof(S));
}

// One row [gates * units] of the caller's into its place in each panel; `rows` is the depth of a panel.
template <class S>
inline void place_row(const S* from, const Panels<S>& panels, Index k, Index rows, S* packed) {
  for (Index p = 0; p < panels.count(); ++p) {
    S* to = packed + panels.before(p) * rows + k * panels.row(p);
    const Index used = panels.used(p);
    clear(to, panels.row(p));
    for (int g = 0; g < panels.gates; ++g) {
      for (Index j = 0; j < used; ++j) to[g * panels.width(p) + j] = from[g * panels.units + p * lanes<S> + j];
    }
  }
}

template <class S>
void pack(int gates, const Weights& weights, S* row, S* packed) {
  const Panels<S> panels(weights.hidden, gates);
  const Index width = gates * weights.hidden;
  const auto matrix = [&](const void* data, Index rows, S* to) {
    for (Index k = 0; k < rows; ++k) {
      read(weights.element, data, k * width, width, row);
      place_row(row, panels, k, rows, to);
    }
  };
  const Packed<S> parts(packed, panels, weights.inputs);
  matrix(weights.w_x, weights.inputs, const_cast<S*>(parts.w_x));
  matrix(weights.w_h, weights.hidden, const_cast<S*>(parts.w_h));
  clear(const_cast<S*>(parts.b), 2 * panels.total());
  if (weights.b) place_row(static_cast<const S*>(weights.b), panels, 0, 1, const_cast<S*>(parts.b));
  if (weights.b_h) place_row(static_cast<const S*>(weights.b_h), panels, 0, 1, const_cast<S*>(parts.b_h));
}

// w [rows, gates * units] turned: for each panel of columns (rows of w), the gates' numbers in the order of `panels`.
template <class S>
void pack_turned(Element element, const void* w, Index rows, const Panels<S>& panels, S* row, S* packed) {
  const Columns<S> columns(rows);
  const Index width = panels.gates * panels.units;
  clear(packed, panels.total() * columns.padded());
  for (Index n = 0; n < rows; ++n) {
    read(element, w, n * width, width, row);
    const Index q = n / columns.wide, span = columns.vectors(q) * lanes<S>;
    S* to = packed + q * columns.wide * panels.total() + n % columns.wide;
    for (Index p = 0; p < panels.count(); ++p) {
      for (int g = 0; g < panels.gates; ++g) {
        for (Index j = 0; j < panels.used(p); ++j) {
          to[(panels.before(p) + g * panels.width(p) + j) * span] = row[g * panels.units + p * lanes<S> + j];
        }
      }
    }
  }
}

}  // namespace lstmjax::LSTMJAX_ISA
