// Backward through all steps of some rows: the gradients of pre-activations, states and inputs.
#pragma once
#include "trace.h"

namespace lstmjax::LSTMJAX_ISA {

// Backward through some rows, a chunk of steps at a time.
template <class S, class Cell>
class Backward {
  static constexpr int gates = Cell::gates;

 public:
  Backward(const Layer& layer, const Gradients& gradients, const Rows& rows)
      : layer_(layer),
        gradients_(gradients),
        rows_(rows),
        panels_(panels_for<S, Cell>(layer.hidden)),
        h_columns_(layer.hidden),
        x_columns_(layer.inputs),
        turned_h_(static_cast<const S*>(gradients.turned)),
        turned_x_(turned_h_ + panels_.total() * h_columns_.padded()),
        stride_(h_columns_.padded() + lanes<S>),
        most_steps_(layer.chunk < layer.steps ? layer.chunk : layer.steps),
        most_pairs_(most_steps_ * rows.count()),
        chunk_(most_steps_),
        trace_(layer, gradients, rows_, chunk_, most_pairs_),
        block_(static_cast<std::size_t>(2 * most_pairs_ * panels_.total() + 3 * rows.count() * stride_) * sizeof(S)) {
    d_x_shares_ = block_.as<S>();
    d_h_shares_ = Cell::has_second_share ? d_x_shares_ + most_pairs_ * panels_.total() : d_x_shares_;
    d_h_ = d_x_shares_ + 2 * most_pairs_ * panels_.total();
    d_memory_ = d_h_ + rows.count() * stride_;
    d_reset_h_ = d_memory_ + rows.count() * stride_;
  }

  // What the sums of weight gradients are made of.
  const Trace<S, Cell>& trace() const { return trace_; }
  Index pairs() const { return chunk_.pairs(); }
  const S* d_x_share(Index p, Index pair) const { return share(d_x_shares_, p, pair); }
  const S* d_h_share(Index p, Index pair) const { return share(d_h_shares_, p, pair); }

  // The gradients of states after the last step; zeros for inputs of steps that are not valid.
  void begin() {
    for (Index r = 0; r < rows_.count(); ++r) {
      S *d_h = d_h_ + r * stride_, *d_memory = d_memory_ + r * stride_;
      clear(d_h, stride_), clear(d_memory, stride_);
      if (layer_.valid) silence(r);
      read(layer_.element, gradients_.d_h_end, rows_.row(r) * layer_.hidden, layer_.hidden, d_h);
      if (!Cell::memory_is_output) copy_state(static_cast<const S*>(gradients_.d_memory_end), r, d_memory);
    }
  }

  void run_chunk(Index number, const Crew& crew) {
    const Index begin = number * layer_.chunk, longest = rows_.longest();
    const Index end = begin + layer_.chunk < longest ? begin + layer_.chunk : longest;
    chunk_.set(rows_, begin, end > begin ? end : begin, rows_.count());
    if (chunk_.pairs() == 0) return;
    trace_.gather(number, crew);
    for (Index s = end; s-- > begin;) {
      crew.split(panels_.count(), [&](Index from, Index to) { through_gates(s, from, to); });
      if constexpr (resets_h<Cell>)
        crew.split(h_columns_.count(), [&](Index from, Index to) { through_reset(s, from, to); });
      crew.split(h_columns_.count(), [&](Index from, Index to) { through_weights(s, from, to); });
    }
    crew.split(divide_up(chunk_.pairs(), tile_rows), [&](Index from, Index to) {
      give_input_gradients(from * tile_rows, to * tile_rows < chunk_.pairs() ? to * tile_rows : chunk_.pairs());
    });
  }

  void finish() {
    for (Index r = 0; r < rows_.count(); ++r) {
      S *d_h = d_h_ + r * stride_, *d_memory = d_memory_ + r * stride_;
      if constexpr (Cell::memory_is_output) add(d_memory, 0, layer_.hidden, d_h);
      give_state(d_h, r, gradients_.d_h_start);
      if constexpr (!Cell::memory_is_output) give_state(d_memory, r, gradients_.d_memory_start);
    }
  }

 private:
  void silence(Index r) const {
    for (Index t = 0; t < layer_.steps; ++t) {
      if (rows_.is_valid(r, t)) continue;
      const Index at_step = rows_.row(r) * gradients_.d_xs.row_stride + t * gradients_.d_xs.step_stride;
      write_zeros(layer_.element, layer_.inputs, gradients_.d_xs.data, at_step);
    }
  }

  void copy_state(const S* from, Index r, S* to) const { copy(from + rows_.row(r) * layer_.hidden, layer_.hidden, to); }

  void give_state(const S* from, Index r, void* to) const {
    copy(from, layer_.hidden, static_cast<S*>(to) + rows_.row(r) * layer_.hidden);
  }

  static void add(const S* from, Index begin, Index end, S* to) {
    for (Index j = begin; j < end; ++j) to[j] += from[j];
  }

  S* share(S* shares, Index p, Index pair) const {
    return shares + panels_.before(p) * most_pairs_ + pair * panels_.row(p);
  }

  // From the gradients of a step's state to those of its pre-activations, for the units of some panels.
  void through_gates(Index s, Index from, Index to) {
    const Index begin = from * lanes<S>, end = to < panels_.count() ? to * lanes<S> : layer_.hidden;
    for (Index r = 0; r < chunk_.live(s); ++r) {
      const Index pair = chunk_.pair(s, r);
      S *const d_h = d_h_ + r * stride_, *const d_memory = d_memory_ + r * stride_;
      add_output_gradient(s, r, begin, end, d_h);
      for (Index p = from; p < to; ++p) {
        const Index unit = p * lanes<S>;
        with_width<S>(panels_.width(p), [&](auto width) {
          Cell::template backward<width>(trace_.kept(s, r, p), trace_.before(pair) + unit, trace_.after(pair) + unit,
                                         d_h + unit, d_memory + unit, share(d_x_shares_, p, pair),
                                         share(d_h_shares_, p, pair));
          silence_padding<width>(p, share(d_x_shares_, p, pair));
          if (Cell::has_second_share) silence_padding<width>(p, share(d_h_shares_, p, pair));
        });
      }
    }
  }

  // Of units that are not there: times weights of zero, what is not finite or was never written would reach all units.
  template <int width>
  void silence_padding(Index p, S* d_share) const {
    const Index used = panels_.used(p);
    if (used == lanes<S>) return;
    for (int g = 0; g < gates; ++g) clear(d_share + g * width + used, width - used);
    clear(d_share + gates * width, panels_.row(p) - gates * width);
  }

  void add_output_gradient(Index s, Index r, Index begin, Index end, S* d_h) const {
    const Index at_step = rows_.row(r) * gradients_.d_ys.row_stride + rows_.time(r, s) * gradients_.d_ys.step_stride;
    if (layer_.element == Element::bfloat16) {
      const uint16_t* const d_y = static_cast<const uint16_t*>(gradients_.d_ys.data) + at_step;
      for (Index j = begin; j < end; ++j) d_h[j] += static_cast<S>(widen(d_y[j]));
    } else {
      const S* const d_y = static_cast<const S*>(gradients_.d_ys.data) + at_step;
      for (Index j = begin; j < end; ++j) d_h[j] += d_y[j];
    }
  }

  // From the gradients of n's pre-activations to those of r * h, and from them to those of r's, for some columns.
  void through_reset(Index s, Index from, Index to) {
    const Index live = chunk_.live(s);
    for (Index q = from; q < to; ++q) {
      multiply_by_columns(s, q, {Cell::gates_of_h, gates}, d_reset_h_);
      for (Index r = 0; r < live; ++r) {
        const Index pair = chunk_.pair(s, r);
        for (Index p = q * 4; p < panels_.count() && p < q * 4 + 4; ++p) {
          const Index unit = p * lanes<S>;
          with_width<S>(panels_.width(p), [&](auto width) {
            Cell::template through_reset<width>(trace_.kept(s, r, p), trace_.reset_h(pair) + unit,
                                                d_reset_h_ + r * stride_ + unit, share(d_h_shares_, p, pair));
            silence_padding<width>(p, share(d_h_shares_, p, pair));
          });
        }
      }
    }
  }

  // The gradients of a step's pre-activations, of some gates, times columns q of W_h turned.
  void multiply_by_columns(Index s, Index q, Gates some, S* out) const {
    const Index unit = q * h_columns_.wide;
    const S* const w = turned_h_ + unit * panels_.total();
    with_vectors(h_columns_.vectors(q), [&](auto N) {
      in_tiles(0, chunk_.live(s), [&](auto R, Index r) {
        panels_times_columns<S, R, N>(d_shares(d_h_shares_), chunk_.pair(s, r), panels_, some, w,
                                      out + r * stride_ + unit, stride_);
      });
    });
  }

  // From the gradients of pre-activations to those of h before the step, for some columns.
  void through_weights(Index s, Index from, Index to) {
    const Index live = chunk_.live(s);
    for (Index i = from; i < to; ++i) {
      const Index q = s % 2 ? from + to - 1 - i : i, unit = q * h_columns_.wide;  // back and forth, as forward
      multiply_by_columns(s, q, {0, Cell::gates_of_h}, d_h_);
      for (Index r = 0; r < live; ++r) {
        if constexpr (resets_h<Cell>)
          add(d_reset_h_ + r * stride_, unit, unit + h_columns_.used(q), d_h_ + r * stride_);
        thin(layer_, rows_.row(r), unit, unit + h_columns_.used(q), d_h_ + r * stride_);
        if (rows_.is_reset(r, s)) reset(r, unit, unit + h_columns_.used(q));
      }
    }
  }

  PanelRows<S> d_shares(const S* shares) const { return {shares, panels_.gates * lanes<S> * most_pairs_}; }

  // A step that began from the initial state hands its gradients there.
  void reset(Index r, Index begin, Index end) {
    S *const d_h = d_h_ + r * stride_, *const d_memory = d_memory_ + r * stride_;
    S* const d_h_initial = static_cast<S*>(gradients_.d_h_initial) + rows_.row(r) * layer_.hidden;
    add(d_h, begin, end, d_h_initial);
    if constexpr (Cell::memory_is_output) {
      add(d_memory, begin, end, d_h_initial);
    } else {
      add(d_memory, begin, end, static_cast<S*>(gradients_.d_memory_initial) + rows_.row(r) * layer_.hidden);
    }
    clear(d_h + begin, end - begin), clear(d_memory + begin, end - begin);
  }

  void give_input_gradients(Index from, Index to) {
    for (Index q = 0; q < x_columns_.count(); ++q) {
      const S* const w = turned_x_ + q * x_columns_.wide * panels_.total();
      with_vectors(x_columns_.vectors(q), [&](auto N) {
        in_tiles(from, to, [&](auto R, Index pair) {
          alignas(64) S tile[R * N * lanes<S>];
          panels_times_columns<S, R, N>(d_shares(d_x_shares_), pair, panels_, {0, gates}, w, tile, N * lanes<S>);
          chunk_.each(pair, pair + R, [&](Index s, Index r, Index here) {
            const Index at_step =
                rows_.row(r) * gradients_.d_xs.row_stride + rows_.time(r, s) * gradients_.d_xs.step_stride;
            write(layer_.element, tile + (here - pair) * N * lanes<S>, x_columns_.used(q), gradients_.d_xs.data,
                  at_step + q * x_columns_.wide);
          });
        });
      });
    }
  }

  const Layer& layer_;
  const Gradients& gradients_;
  const Rows rows_;
  const Panels<S> panels_;
  const Columns<S> h_columns_, x_columns_;
  const S *turned_h_, *turned_x_;
  const Index stride_, most_steps_, most_pairs_;
  Chunk chunk_;
  Trace<S, Cell> trace_;
  Scratch block_;
  S *d_x_shares_, *d_h_shares_, *d_h_, *d_memory_, *d_reset_h_;
};

}  // namespace lstmjax::LSTMJAX_ISA
