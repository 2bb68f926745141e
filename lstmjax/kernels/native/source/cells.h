// The equations of each cell for one row and the units of one panel, forward and backward.
//
// A panel's numbers lie gate by gate, `width` units each. `memory` is what a cell hands on beside its output: c of an
// LSTM, the output itself, unmasked, of a GRU. The first `gates_of_h` gates take h into their product; where that is
// not all of them, the others take r * h, so that a step has two products, the second of all units of r * h.
#pragma once
#include "panels.h"

namespace lstmjax::LSTMJAX_ISA {

//     i, f, g, o = x W_x + b + h W_h
//     c' = sigmoid(f) * c + sigmoid(i) * tanh(g)
//     h' = sigmoid(o) * tanh(c')
template <class S>
struct LSTM {
  static constexpr int gates = 4, gates_of_h = 4;
  static constexpr bool has_second_share = false;  // the products of x and h enter all gates as one sum
  static constexpr bool memory_is_output = false;

  template <int width>
  [[gnu::always_inline]] static void step(const S* x_share, const S* h_share, S* c, S* h, S* kept) {
    using V = Vector<S, width>;
    const auto share = [&](int gate) __attribute__((always_inline)) {
      return load<V>(x_share + gate * width) + load<V>(h_share + gate * width);
    };
    const auto i = sigmoid<S, width>(share(0)), f = sigmoid<S, width>(share(1));
    const auto g = tanh<S, width>(share(2)), o = sigmoid<S, width>(share(3));
    const V after = value(f * load<V>(c) + i * g);
    store(c, after);
    store(h, value(o * tanh<S, width>(after)));
    if (kept) keep<width>(value(i), value(f), value(g), value(o), kept);
  }

  // Gates from the products alone, as `step` keeps them.
  template <int width>
  [[gnu::always_inline]] static void activate(const S* x_share, const S* h_share, S* kept) {
    using V = Vector<S, width>;
    const auto share = [&](int gate) __attribute__((always_inline)) {
      return load<V>(x_share + gate * width) + load<V>(h_share + gate * width);
    };
    keep<width>(value(sigmoid<S, width>(share(0))), value(sigmoid<S, width>(share(1))), value(tanh<S, width>(share(2))),
                value(sigmoid<S, width>(share(3))), kept);
  }

  template <int width>
  [[gnu::always_inline]] static void keep(Vector<S, width> i, Vector<S, width> f, Vector<S, width> g,
                                          Vector<S, width> o, S* kept) {
    store(kept, i), store(kept + width, f), store(kept + 2 * width, g), store(kept + 3 * width, o);
  }

  template <int width>
  [[gnu::always_inline]] static void remember(const S* kept, const S* before, S* after) {
    using V = Vector<S, width>;
    store(after, load<V>(kept + width) * load<V>(before) + load<V>(kept) * load<V>(kept + 2 * width));
  }

  // From the gradients of h and c after the step: those of the pre-activations, and of c before it.
  template <int width>
  [[gnu::always_inline]] static void backward(const S* kept, const S* c_before, const S* c_after, const S* d_h_, S* d_c,
                                              S* d_x_share, S*) {
    using V = Vector<S, width>;
    const V i = load<V>(kept), f = load<V>(kept + width), g = load<V>(kept + 2 * width), o = load<V>(kept + 3 * width);
    const V seen = value(tanh<S, width>(load<V>(c_after))), d_h = load<V>(d_h_);
    const V d_after = load<V>(d_c) + d_h * o * ((S{1} + seen) * (S{1} - seen));
    store(d_x_share, d_after * g * i * (S{1} - i));
    store(d_x_share + width, d_after * load<V>(c_before) * f * (S{1} - f));
    store(d_x_share + 2 * width, d_after * i * ((S{1} + g) * (S{1} - g)));
    store(d_x_share + 3 * width, d_h * seen * o * (S{1} - o));
    store(d_c, d_after * f);
  }
};

//     r, z = sigmoid(x W_x + b + h W_h)                        for their two gates
//     n = tanh(x W_xn + b_n + r * (h W_hn + b_hn))
//     h' = z * h + (1 - z) * n
template <class S>
struct GRU {
  static constexpr int gates = 3, gates_of_h = 3;
  static constexpr bool has_second_share = true;  // of n, the reset gate acts on the product of h alone
  static constexpr bool memory_is_output = true;

  template <int width>
  [[gnu::always_inline]] static void step(const S* x_share, const S* h_share, S* memory, S* h, S* kept) {
    using V = Vector<S, width>;
    const auto share = [&](int gate) __attribute__((always_inline)) {
      return load<V>(x_share + gate * width) + load<V>(h_share + gate * width);
    };
    const V h_n = load<V>(h_share + 2 * width);
    const V r = value(sigmoid<S, width>(share(0)));
    const auto z = sigmoid<S, width>(share(1));
    const auto n = tanh<S, width>(load<V>(x_share + 2 * width) + r * h_n);
    const Ratio<V> open{z.under - z.over, z.under};
    const V after = value(z * load<V>(memory) + open * n);
    store(memory, after);
    store(h, after);
    if (kept) keep<width>(r, value(z), value(n), h_n, kept);
  }

  template <int width>
  [[gnu::always_inline]] static void activate(const S* x_share, const S* h_share, S* kept) {
    using V = Vector<S, width>;
    const auto share = [&](int gate) __attribute__((always_inline)) {
      return load<V>(x_share + gate * width) + load<V>(h_share + gate * width);
    };
    const V r = value(sigmoid<S, width>(share(0))), h_n = load<V>(h_share + 2 * width);
    const V n = value(tanh<S, width>(load<V>(x_share + 2 * width) + r * h_n));
    keep<width>(r, value(sigmoid<S, width>(share(1))), n, h_n, kept);
  }

  template <int width>
  [[gnu::always_inline]] static void keep(Vector<S, width> r, Vector<S, width> z, Vector<S, width> n,
                                          Vector<S, width> h_n, S* kept) {
    store(kept, r), store(kept + width, z), store(kept + 2 * width, n), store(kept + 3 * width, h_n);
  }

  template <int width>
  [[gnu::always_inline]] static void backward(const S* kept, const S* before, const S*, const S* d_h_, S* d_memory,
                                              S* d_x_share, S* d_h_share) {
    using V = Vector<S, width>;
    const V r = load<V>(kept), z = load<V>(kept + width), n = load<V>(kept + 2 * width),
            h_n = load<V>(kept + 3 * width);
    const V d_h = load<V>(d_h_) + load<V>(d_memory);
    const V d_n = d_h * (S{1} - z) * ((S{1} + n) * (S{1} - n));
    const V d_r = d_n * h_n * r * (S{1} - r), d_z = d_h * (load<V>(before) - n) * z * (S{1} - z);
    store(d_x_share, d_r), store(d_x_share + width, d_z), store(d_x_share + 2 * width, d_n);
    store(d_h_share, d_r), store(d_h_share + width, d_z), store(d_h_share + 2 * width, d_n * r);
    store(d_memory, d_h * z);
  }
};

//     r, z = sigmoid(x W_x + b + h W_h)                        for their two gates
//     n = tanh(x W_xn + b_n + (r * h) W_hn)
//     h' = z * h + (1 - z) * n
template <class S>
struct ResetBeforeGRU {
  static constexpr int gates = 3, gates_of_h = 2;
  static constexpr bool has_second_share = false;
  static constexpr bool memory_is_output = true;

  // After the first product: r, z and, as it came, the share of x in n. `opened` may be where that share lies.
  template <int width>
  [[gnu::always_inline]] static void open(const S* x_share, const S* h_share, S* opened) {
    using V = Vector<S, width>;
    const auto share = [&](int gate) __attribute__((always_inline)) {
      return load<V>(x_share + gate * width) + load<V>(h_share + gate * width);
    };
    const V n_share = load<V>(x_share + 2 * width);
    keep<width>(value(sigmoid<S, width>(share(0))), value(sigmoid<S, width>(share(1))), n_share, opened);
  }

  // After the second product, from what `open` gave.
  template <int width>
  [[gnu::always_inline]] static void step(const S* opened, const S* n_share, S* memory, S* h, S* kept) {
    using V = Vector<S, width>;
    const V r = load<V>(opened), z = load<V>(opened + width);
    const V n = value(tanh<S, width>(load<V>(opened + 2 * width) + load<V>(n_share)));
    const V after = z * load<V>(memory) + (S{1} - z) * n;
    store(memory, after);
    store(h, after);
    if (kept) keep<width>(r, z, n, kept);
  }

  template <int width>
  [[gnu::always_inline]] static void activate(const S* opened, const S* n_share, S* kept) {
    using V = Vector<S, width>;
    const V n = value(tanh<S, width>(load<V>(opened + 2 * width) + load<V>(n_share)));
    keep<width>(load<V>(opened), load<V>(opened + width), n, kept);
  }

  template <int width>
  [[gnu::always_inline]] static void keep(Vector<S, width> r, Vector<S, width> z, Vector<S, width> n, S* kept) {
    store(kept, r), store(kept + width, z), store(kept + 2 * width, n);
  }

  // All but what goes through r, which `through_reset` adds.
  template <int width>
  [[gnu::always_inline]] static void backward(const S* kept, const S* before, const S*, const S* d_h_, S* d_memory,
                                              S* d_share, S*) {
    using V = Vector<S, width>;
    const V z = load<V>(kept + width), n = load<V>(kept + 2 * width), d_h = load<V>(d_h_) + load<V>(d_memory);
    store(d_share + width, d_h * (load<V>(before) - n) * z * (S{1} - z));
    store(d_share + 2 * width, d_h * (S{1} - z) * ((S{1} + n) * (S{1} - n)));
    store(d_memory, d_h * z);
  }

  // From the gradients of r * h: those of r's pre-activations and, in place, of h.
  template <int width>
  [[gnu::always_inline]] static void through_reset(const S* kept, const S* reset_h, S* d_reset_h, S* d_share) {
    using V = Vector<S, width>;
    const V r = load<V>(kept), d = load<V>(d_reset_h);
    store(d_share, d * load<V>(reset_h) * (S{1} - r));
    store(d_reset_h, d * r);
  }
};

// Whether a step has two products.
template <class Cell>
constexpr bool resets_h = Cell::gates_of_h < Cell::gates;

template <class S, class Cell>
Panels<S> panels_for(Index units) {
  return {units, Cell::gates, Cell::gates_of_h};
}

// Recurrent dropout: units begin .. end of a row of h, or of its gradient, times the row's mask.
template <class S>
inline void thin(const Layer& layer, Index row, Index begin, Index end, S* h) {
  if (!layer.h_mask) return;
  for (Index j = begin; j < end; ++j) {
    S factor;
    read(layer.element, layer.h_mask, row * layer.hidden + j, 1, &factor);
    h[j] *= factor;
  }
}

// r * h for some units of a row, as it enters the second product.
template <class S>
inline void reset_units(Element element, const S* r, const S* h, Index count, S* reset_h) {
  for (Index j = 0; j < count; ++j) reset_h[j] = r[j] * h[j];
  if (element == Element::bfloat16) round_units(reset_h, count);
}

}  // namespace lstmjax::LSTMJAX_ISA
