// Forward through all steps of some rows.
#pragma once
#include "cells.h"
#include "products.h"
#include "rows.h"

namespace lstmjax::LSTMJAX_ISA {

// Rows of a product of inputs for which weights that are read once are used often enough.
constexpr Index input_rows = 96;

template <class S, class Cell>
class Forward {
  static constexpr int gates = Cell::gates;

 public:
  Forward(const Layer& layer, const Results& results, const Rows& rows)
      : layer_(layer),
        results_(results),
        rows_(rows),
        panels_(panels_for<S, Cell>(layer.hidden)),
        weights_(layer.packed, panels_, layer.inputs),
        stride_(panels_.padded() + lanes<S>),
        most_steps_(chunk_steps(layer, rows)),
        chunk_(most_steps_),
        memory_block_(static_cast<std::size_t>(most_steps_ * rows.count() * (layer.inputs + panels_.total()) +
                                               4 * rows.count() * stride_) *
                      sizeof(S)) {
    xs_ = memory_block_.as<S>();
    x_shares_ = xs_ + most_steps_ * rows.count() * layer.inputs;
    memory_ = x_shares_ + most_steps_ * rows.count() * panels_.total();
    entering_[0] = memory_ + rows.count() * stride_;
    entering_[1] = entering_[0] + rows.count() * stride_;
    reset_h_ = entering_[1] + rows.count() * stride_;
  }

  void run(const Crew& crew) {
    begin();
    Index live = rows_.count();
    for (Index s = 0; s < rows_.longest(); s += most_steps_) {
      const Index end = s + most_steps_ < rows_.longest() ? s + most_steps_ : rows_.longest();
      chunk_.set(rows_, s, end, live);
      crew.split(chunk_.pairs(), [&](Index from, Index to) { take_inputs(from, to); });
      crew.split(panels_.count(), [&](Index from, Index to) { multiply_inputs(from, to); });
      for (Index step = s; step < end; ++step) {
        if constexpr (resets_h<Cell>)
          crew.split(panels_.count(), [&](Index from, Index to) { reset_state(step, from, to); });
        crew.split(panels_.count(), [&](Index from, Index to) { run_step(step, from, to); });
      }
      live = chunk_.live(end - 1);
    }
  }

 private:
  static Index chunk_steps(const Layer& layer, const Rows& rows) {
    const Index steps = divide_up(input_rows, rows.count() > 0 ? rows.count() : 1);
    return steps < layer.steps ? steps : layer.steps;
  }

  // States before the first step, and zeros where a step is not valid.
  void begin() {
    for (Index r = 0; r < rows_.count(); ++r) {
      const Index row = rows_.row(r), at_row = row * layer_.hidden;
      S *h = entering_[0] + r * stride_, *memory = memory_ + r * stride_;
      clear(h, stride_), clear(entering_[1] + r * stride_, stride_), clear(memory, stride_);
      set_state(row, layer_.h_start, layer_.memory_start, 0, layer_.hidden, h, memory);
      if (rows_.length(r) == 0) {
        write(layer_.element, h, layer_.hidden, results_.h_end, at_row);
        if (results_.memory_end) store_memory(memory, 0, layer_.hidden, at_row);
      } else if (rows_.is_reset(r, 0)) {
        set_state(row, layer_.h_initial, layer_.memory_initial, 0, layer_.hidden, h, memory);
      }
      thin(row, 0, layer_.hidden, h);
      if (layer_.valid) silence(r);
    }
  }

  // Units begin .. end of a state, from the caller's arrays.
  void set_state(Index row, const void* h_from, const void* memory_from, Index begin, Index end, S* h,
                 S* memory) const {
    const Index from = row * layer_.hidden + begin;
    read(layer_.element, h_from, from, end - begin, h + begin);
    if constexpr (Cell::memory_is_output) {
      read(layer_.element, h_from, from, end - begin, memory + begin);
    } else {
      copy(static_cast<const S*>(memory_from) + from, end - begin, memory + begin);
    }
  }

  void store_memory(const S* memory, Index begin, Index end, Index at_row) const {
    copy(memory + begin, end - begin, static_cast<S*>(results_.memory_end) + at_row + begin);
  }

  void thin(Index row, Index begin, Index end, S* h) const {
    lstmjax::LSTMJAX_ISA::thin(layer_, row, begin, end, h);
    if (layer_.h_mask && layer_.element == Element::bfloat16) round_units(h + begin, end - begin);
  }

  void silence(Index r) const {
    for (Index t = 0; t < layer_.steps; ++t) {
      if (!rows_.is_valid(r, t)) write_zeros(layer_.element, layer_.hidden, layer_.ys.data, y_at(r, t));
    }
  }

  Index y_at(Index r, Index time) const { return rows_.row(r) * layer_.ys.row_stride + time * layer_.ys.step_stride; }

  void take_inputs(Index from, Index to) {
    chunk_.each(from, to, [&](Index s, Index r, Index pair) {
      const Index at_step = rows_.row(r) * layer_.xs.row_stride + rows_.time(r, s) * layer_.xs.step_stride;
      read(layer_.element, layer_.xs.data, at_step, layer_.inputs, xs_ + pair * layer_.inputs);
    });
  }

  S* x_share(Index p, Index pair) const {
    return x_shares_ + panels_.before(p) * most_steps_ * rows_.count() + pair * panels_.row(p);
  }

  // x W_x + b for all pairs of the chunk.
  void multiply_inputs(Index from, Index to) {
    for (Index p = from; p < to; ++p) {
      with_width<S>(panels_.width(p), [&](auto width) {
        constexpr int N = static_cast<int>(divide_up(gates * width, lanes<S>));
        in_tiles(0, chunk_.pairs(), [&](auto R, Index pair) {
          rows_times_panel<S, R, N>(xs_ + pair * layer_.inputs, layer_.inputs,
                                    weights_.w_x + panels_.before(p) * layer_.inputs, layer_.inputs,
                                    weights_.b + panels_.before(p), x_share(p, pair));
        });
      });
    }
  }

  // The gates of h and, from them, r * h, for the units of some panels. Gates are put where the share of x was.
  void reset_state(Index s, Index from, Index to) {
    const S* const h = entering_[s % 2];
    for (Index p = from; p < to; ++p) {
      with_width<S>(panels_.width(p), [&](auto width) {
        in_tiles(0, chunk_.live(s), [&](auto R, Index r) {
          constexpr int N = static_cast<int>(divide_up(Cell::gates_of_h * width, lanes<S>));
          alignas(64) S tile[R * N * lanes<S>];
          rows_times_gates<S, R, width, 0, Cell::gates_of_h>(h + r * stride_, stride_, weights_, panels_, p, tile);
          for (int q = 0; q < R; ++q) {
            S* const opened = x_share(p, chunk_.pair(s, r + q));
            const Index unit = (r + q) * stride_ + p * lanes<S>;
            Cell::template open<width>(opened, tile + q * N * lanes<S>, opened);
            reset_units(layer_.element, opened, h + unit, width, reset_h_ + unit);
          }
        });
      });
    }
  }

  // One step of the units of some panels. Reads all of the state before it, writes these units of the state after it.
  void run_step(Index s, Index from, Index to) {
    constexpr int first = resets_h<Cell> ? Cell::gates_of_h : 0;
    const S* const h_before = resets_h<Cell> ? reset_h_ : entering_[s % 2];
    S* const h_after = entering_[(s + 1) % 2];
    const Index live = chunk_.live(s);
    if (results_.chunk_memory && s % layer_.chunk == 0) keep_memory(s, live, from, to);
    for (Index i = from; i < to; ++i) {
      // Back and forth, so that the weights read last are read first again while they are in a near cache.
      const Index p = s % 2 ? from + to - 1 - i : i, unit = p * lanes<S>;
      with_width<S>(panels_.width(p), [&](auto width) {
        constexpr int N = static_cast<int>(divide_up((gates - first) * width, lanes<S>));
        in_tiles(0, live, [&](auto R, Index r) {
          alignas(64) S tile[R * N * lanes<S>];
          rows_times_gates<S, R, width, first, gates>(h_before + r * stride_, stride_, weights_, panels_, p, tile);
          for (int q = 0; q < R; ++q) {
            Cell::template step<width>(x_share(p, chunk_.pair(s, r + q)), tile + q * N * lanes<S>,
                                       memory_ + (r + q) * stride_ + unit, h_after + (r + q) * stride_ + unit,
                                       kept_gates(s, r + q, p));
          }
        });
      });
    }
    const Index begin = from * lanes<S>, end = to < panels_.count() ? to * lanes<S> : layer_.hidden;
    for (Index r = 0; r < live; ++r) finish_row(s, r, begin, end, h_after + r * stride_);
  }

  S* kept_gates(Index s, Index r, Index p) const {
    if (!results_.gates) return nullptr;
    return static_cast<S*>(results_.gates) + ((s * layer_.rows + rows_.row(r)) * panels_.padded() + p * lanes<S>)*4;
  }

  void keep_memory(Index s, Index live, Index from, Index to) const {
    const Index begin = from * lanes<S>, end = to < panels_.count() ? to * lanes<S> : panels_.padded();
    for (Index r = 0; r < live; ++r) {
      S* const kept =
          static_cast<S*>(results_.chunk_memory) + (s / layer_.chunk * layer_.rows + rows_.row(r)) * panels_.padded();
      copy(memory_ + r * stride_ + begin, end - begin, kept + begin);
    }
  }

  // Units begin .. end of a row's output go out; what enters the next step's product is made of them.
  void finish_row(Index s, Index r, Index begin, Index end, S* h) {
    const Index row = rows_.row(r), at_row = row * layer_.hidden;
    S* const memory = memory_ + r * stride_;
    write(layer_.element, h + begin, end - begin, layer_.ys.data, y_at(r, rows_.time(r, s)) + begin);
    if (layer_.element == Element::bfloat16) round(h, memory, begin, end);
    if (s + 1 == rows_.length(r)) {
      write(layer_.element, h + begin, end - begin, results_.h_end, at_row + begin);
      if (results_.memory_end) store_memory(memory, begin, end, at_row);
      return;
    }
    if (rows_.is_reset(r, s + 1)) set_state(row, layer_.h_initial, layer_.memory_initial, begin, end, h, memory);
    thin(row, begin, end, h);
  }

  void round(S* h, S* memory, Index begin, Index end) const {
    round_units(h + begin, end - begin);
    if constexpr (Cell::memory_is_output) copy(h + begin, end - begin, memory + begin);
  }

  const Layer& layer_;
  const Results& results_;
  const Rows rows_;
  const Panels<S> panels_;
  const Packed<S> weights_;
  // Of a row of states: a vector more than it needs, so that rows do not fall on the same cache lines.
  const Index stride_;
  const Index most_steps_;
  Chunk chunk_;
  Scratch memory_block_;
  S *xs_, *x_shares_, *memory_, *entering_[2], *reset_h_;
};

}  // namespace lstmjax::LSTMJAX_ISA
