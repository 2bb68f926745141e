// What the forward pass left of a chunk of steps: its inputs, the states before its steps, its gates.
#pragma once
#include "cells.h"
#include "products.h"
#include "rows.h"

namespace lstmjax::LSTMJAX_ISA {

template <class S, class Cell>
class Trace {
  static constexpr int gates = Cell::gates;

 public:
  Trace(const Layer& layer, const Gradients& gradients, const Rows& rows, const Chunk& chunk, Index most_pairs)
      : layer_(layer),
        gradients_(gradients),
        rows_(rows),
        chunk_(chunk),
        panels_(panels_for<S, Cell>(layer.hidden)),
        weights_(layer.packed, panels_, layer.inputs),
        most_pairs_(most_pairs),
        reset_width_(resets_h<Cell> ? Columns<S>(layer.hidden).padded() : 0),
        stride_(layer.inputs + layer.hidden + 2 + reset_width_),
        block_(static_cast<std::size_t>(most_pairs * (stride_ + (gradients.gates ? 2 : 6) * panels_.padded())) *
               sizeof(S)) {
    before_ = block_.as<S>();
    after_ = Cell::memory_is_output ? before_ : before_ + most_pairs * panels_.padded();
    inputs_ = before_ + 2 * most_pairs * panels_.padded();
    gates_ = gradients.gates ? nullptr : inputs_ + most_pairs * stride_;
  }

  // Everything of chunk `number`, which `chunk` has been set to.
  void gather(Index number, const Crew& crew) {
    crew.split(chunk_.pairs(), [&](Index from, Index to) { take_inputs(from, to); });
    if constexpr (resets_h<Cell>) crew.split(panels_.count(), [&](Index from, Index to) { reset_states(from, to); });
    crew.split(panels_.count(), [&](Index from, Index to) {
      if (gates_) compute_gates(from, to);
      if constexpr (!Cell::memory_is_output) remember(number, from, to);
    });
  }

  // A row [x, 1, h, 1] for each pair; r * h follows where it has a product of its own.
  const S* inputs(Index pair) const { return inputs_ + pair * stride_; }
  Index stride() const { return stride_; }
  const S* reset_h(Index pair) const { return h(pair) + layer_.hidden + 1; }
  const S* before(Index pair) const { return before_ + pair * panels_.padded(); }
  const S* after(Index pair) const { return after_ + pair * panels_.padded(); }

  const S* kept(Index s, Index r, Index p) const {
    if (gates_) return own_gates(p, chunk_.pair(s, r));
    return static_cast<const S*>(gradients_.gates) +
           ((s * layer_.rows + rows_.row(r)) * panels_.padded() + p * lanes<S>)*4;
  }

 private:
  // For each pair a row [x, 1, h, 1]: a bias is a weight whose input is 1. Where r * h has a product, it follows, then
  // zeros.
  void take_inputs(Index from, Index to) {
    chunk_.each(from, to, [&](Index s, Index r, Index pair) {
      const Index row = rows_.row(r);
      S *x = inputs_ + pair * stride_, *h = x + layer_.inputs + 1;
      read(layer_.element, layer_.xs.data, row * layer_.xs.row_stride + rows_.time(r, s) * layer_.xs.step_stride,
           layer_.inputs, x);
      x[layer_.inputs] = h[layer_.hidden] = S{1};
      if (rows_.is_reset(r, s)) {
        read(layer_.element, layer_.h_initial, row * layer_.hidden, layer_.hidden, h);
      } else if (s == 0) {
        read(layer_.element, layer_.h_start, row * layer_.hidden, layer_.hidden, h);
      } else {
        read(layer_.element, layer_.ys.data, row * layer_.ys.row_stride + rows_.time(r, s - 1) * layer_.ys.step_stride,
             layer_.hidden, h);
      }
      if constexpr (Cell::memory_is_output) {
        S* const before = before_ + pair * panels_.padded();
        clear(before, panels_.padded());
        copy(h, layer_.hidden, before);
      }
      thin(layer_, row, 0, layer_.hidden, h);
      if (layer_.h_mask && layer_.element == Element::bfloat16) round_units(h, layer_.hidden);
      clear(h + layer_.hidden + 1, reset_width_);
    });
  }

  S* h(Index pair) const { return inputs_ + pair * stride_ + layer_.inputs + 1; }
  S* own_gates(Index p, Index pair) const {
    return gates_ + p * lanes<S> * 4 * most_pairs_ + pair * panels_.width(p) * 4;
  }

  // r * h of the chunk, for the units of some panels; where gates are not kept, first those of h.
  void reset_states(Index from, Index to) {
    if (gates_) open_gates(from, to);
    chunk_.each(0, chunk_.pairs(), [&](Index s, Index r, Index pair) {
      for (Index p = from; p < to; ++p) {
        const Index unit = p * lanes<S>;
        reset_units(layer_.element, kept(s, r, p), h(pair) + unit, panels_.used(p), h(pair) + layer_.hidden + 1 + unit);
      }
    });
  }

  void open_gates(Index from, Index to) {
    each_tile(from, to, [&](auto width, auto R, Index p, Index pair) {
      constexpr int N = static_cast<int>(divide_up(gates * width, lanes<S>));
      constexpr int some = static_cast<int>(divide_up(Cell::gates_of_h * width, lanes<S>));
      alignas(64) S x_share[R * N * lanes<S>], h_share[R * some * lanes<S>];
      multiply_inputs<R, N>(p, pair, x_share);
      rows_times_gates<S, R, width, 0, Cell::gates_of_h>(h(pair), stride_, weights_, panels_, p, h_share);
      S* const out = own_gates(p, pair);
      for (int q = 0; q < R; ++q)
        Cell::template open<width>(x_share + q * N * lanes<S>, h_share + q * some * lanes<S>, out + q * width * 4);
    });
  }

  // The gates of the chunk, from its inputs and the states before its steps, or from r * h and what `open_gates` gave.
  void compute_gates(Index from, Index to) {
    each_tile(from, to, [&](auto width, auto R, Index p, Index pair) {
      constexpr int first = resets_h<Cell> ? Cell::gates_of_h : 0;
      constexpr int N = static_cast<int>(divide_up(gates * width, lanes<S>));
      constexpr int some = static_cast<int>(divide_up((gates - first) * width, lanes<S>));
      alignas(64) S x_share[R * N * lanes<S>], h_share[R * some * lanes<S>];
      S* const out = own_gates(p, pair);
      if constexpr (!resets_h<Cell>) multiply_inputs<R, N>(p, pair, x_share);
      const S* const states = resets_h<Cell> ? reset_h(pair) : h(pair);
      rows_times_gates<S, R, width, first, gates>(states, stride_, weights_, panels_, p, h_share);
      for (int q = 0; q < R; ++q) {
        const S* const opened = resets_h<Cell> ? out + q * width * 4 : x_share + q * N * lanes<S>;
        Cell::template activate<width>(opened, h_share + q * some * lanes<S>, out + q * width * 4);
      }
    });
  }

  // f(width, R, p, pair) for tiles of R pairs of the chunk, in some panels.
  template <class F>
  void each_tile(Index from, Index to, const F& f) const {
    for (Index p = from; p < to; ++p) {
      with_width<S>(panels_.width(p), [&](auto width) {
        in_tiles(0, chunk_.pairs(), [&](auto R, Index pair) { f(width, R, p, pair); });
      });
    }
  }

  // x W_x + b for R pairs, in panel p.
  template <int R, int N>
  void multiply_inputs(Index p, Index pair, S* out) const {
    rows_times_panel<S, R, N>(inputs_ + pair * stride_, stride_, weights_.w_x + panels_.before(p) * layer_.inputs,
                              layer_.inputs, weights_.b + panels_.before(p), out);
  }

  // The memory before and after each step of the chunk, from the gates and the memory that it began with.
  void remember(Index number, Index from, Index to) {
    const S* const starts = static_cast<const S*>(gradients_.chunk_memory) + number * layer_.rows * panels_.padded();
    for (Index s = chunk_.begin(); s < chunk_.end(); ++s) {
      for (Index r = 0; r < chunk_.live(s); ++r) {
        const Index pair = chunk_.pair(s, r), row = rows_.row(r);
        const bool reset = rows_.is_reset(r, s);
        for (Index p = from; p < to; ++p) {
          const Index unit = p * lanes<S>, used = panels_.used(p);
          S* const before = before_ + pair * panels_.padded() + unit;
          const S* source = starts + row * panels_.padded() + unit;
          if (s > chunk_.begin()) source = after_ + chunk_.pair(s - 1, r) * panels_.padded() + unit;
          if (reset) source = static_cast<const S*>(layer_.memory_initial) + row * layer_.hidden + unit;
          with_width<S>(panels_.width(p), [&](auto width) {
            clear(before, width);
            copy(source, used, before);
            Cell::template remember<width>(kept(s, r, p), before, after_ + pair * panels_.padded() + unit);
          });
        }
      }
    }
  }

  const Layer& layer_;
  const Gradients& gradients_;
  const Rows& rows_;
  const Chunk& chunk_;
  const Panels<S> panels_;
  const Packed<S> weights_;
  const Index most_pairs_, reset_width_, stride_;
  Scratch block_;
  S *before_, *after_, *inputs_, *gates_;
};

}  // namespace lstmjax::LSTMJAX_ISA
