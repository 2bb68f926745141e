// How weights are laid out. Hidden units are taken a vector at a time; a panel holds, for these units, the gates side
// by side:
//
//     panel p, row k:   gate 0 of units u .. u + width,   gate 1 of them,   ...
//
// so that a product leaves in registers all that a cell needs of its units. The last panel is as narrow as what is left
// allows. Where r * h has a product of its own, the panels of W_h hold all rows of the gates of h and then all rows of
// the others.
#pragma once
#include "vectors.h"

namespace lstmjax::LSTMJAX_ISA {

template <int n>
constexpr std::integral_constant<int, n> constant{};

constexpr Index divide_up(Index a, Index b) {
  return (a + b - 1) / b;
}

// The width of the last panel: a vector, a half or, where all gates have one product, a quarter of one.
template <class S>
inline int narrowest(Index units, bool one_product) {
  int width = lanes<S>;
  while (width > 2 && width > lanes<S> / (one_product ? 4 : 2) && units <= width / 2) width /= 2;
  return width;
}

// The gates begin .. end of a panel.
struct Gates {
  int begin, end;
  int count() const { return end - begin; }
};

// Panels of `gates` gates over `units` units; the first `gates_of_h` gates take h into their product, the others r * h.
template <class S>
struct Panels {
  Index units, full;  // full panels, then one of `last` units where last > 0
  int gates, gates_of_h, last;

  Panels(Index units_, int gates_, int gates_of_h_)
      : units(units_),
        full(units_ / lanes<S>),
        gates(gates_),
        gates_of_h(gates_of_h_),
        last(units_ % lanes<S> ? narrowest<S>(units_ % lanes<S>, gates_of_h == gates) : 0) {}

  Index count() const { return full + (last > 0); }
  Index padded() const { return full * lanes<S> + last; }  // units
  int width(Index p) const { return p < full ? lanes<S> : last; }
  int vectors(Index p) const { return static_cast<int>(divide_up(gates * width(p), lanes<S>)); }
  Index row(Index p) const { return vectors(p) * lanes<S>; }    // numbers in a row of panel p
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

// Turned weights: the gates' numbers, in the order of panels, times columns, which are again in panels of up to four
// vectors.
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

// To what bfloat16 holds.
template <class S>
inline void round_units(S* x, Index count) {
  for (Index j = 0; j < count; ++j) x[j] = static_cast<S>(widen(narrow(static_cast<float>(x[j]))));
}

template <int width, class S>
[[gnu::always_inline]] inline void copy_rest(const S* from, Index count, S* to) {
  if (count & width) {
    store(to, load<Vector<S, width>>(from));
    from += width, to += width;
  }
  if constexpr (width > 2) {
    copy_rest<width / 2>(from, count, to);
  } else if (count & 1) {
    *to = *from;
  }
}

// Short rows, for which a call of memcpy is long.
template <class S>
inline void copy(const S* from, Index count, S* to) {
  for (; count >= lanes<S>; count -= lanes<S>, from += lanes<S>, to += lanes<S>) store(to, load<Vector<S>>(from));
  if constexpr (lanes<S> > 2) {
    copy_rest<lanes<S> / 2>(from, count, to);
  } else if (count > 0) {
    *to = *from;
  }
}

// Copies `count` numbers of the caller's `element`, from number `at` on, to floats or doubles.
template <class S>
inline void read(Element element, const void* from, Index at, Index count, S* to) {
  if (element == Element::bfloat16) {
    const uint16_t* halves = static_cast<const uint16_t*>(from) + at;
    for (Index j = 0; j < count; ++j) to[j] = static_cast<S>(widen(halves[j]));
  } else {
    copy(static_cast<const S*>(from) + at, count, to);
  }
}

template <class S>
inline void write(Element element, const S* from, Index count, void* to, Index at) {
  if (sizeof(S) == sizeof(float) && element == Element::bfloat16) {  // whose sums are never doubles
    uint16_t* halves = static_cast<uint16_t*>(to) + at;
    for (Index j = 0; j < count; ++j) halves[j] = narrow(static_cast<float>(from[j]));
  } else {
    copy(from, count, static_cast<S*>(to) + at);
  }
}

inline void write_zeros(Element element, Index count, void* to, Index at) {
  const Index bytes = element == Element::float64 ? 8 : element == Element::float32 ? 4 : 2;
  __builtin_memset(static_cast<char*>(to) + at * bytes, 0, static_cast<std::size_t>(count * bytes));
}

template <class S>
inline void clear(S* to, Index count) {
  __builtin_memset(to, 0, static_cast<std::size_t>(count) * sizeof(S));
}

}  // namespace lstmjax::LSTMJAX_ISA
