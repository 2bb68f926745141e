// Backward through all steps: gradients of inputs, states and weights.
#pragma once
#include "cells.h"
#include "products.h"
#include "rows.h"

namespace lstmjax::LSTMJAX_ISA {

// Rows of a weight gradient's sum for which a panel of their gradients stays in the nearest cache.
constexpr Index sum_rows = 96;

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
        weights_(layer.packed, panels_, layer.inputs),
        turned_h_(static_cast<const S*>(gradients.turned)),
        turned_x_(turned_h_ + panels_.total() * h_columns_.padded()),
        stride_(h_columns_.padded() + lanes<S>),
        inputs_stride_(layer.inputs + layer.hidden + 2 + (resets_h<Cell> ? stride_ : 0)),
        most_pairs_((layer.chunk < layer.steps ? layer.chunk : layer.steps) * rows.count()),
        chunk_(layer.chunk < layer.steps ? layer.chunk : layer.steps),
        memory_block_(static_cast<std::size_t>(numbers()) * sizeof(S)) {
    S* next = memory_block_.as<S>();
    const auto take = [&next](Index count) { return (next += count) - count; };
    d_x_shares_ = take(most_pairs_ * panels_.total());
    d_h_shares_ = Cell::has_second_share ? take(most_pairs_ * panels_.total()) : d_x_shares_;
    gates_ = gradients.gates ? nullptr : take(most_pairs_ * panels_.padded() * 4);
    before_ = take(most_pairs_ * panels_.padded());
    after_ = Cell::memory_is_output ? before_ : take(most_pairs_ * panels_.padded());
    d_h_ = take(rows.count() * stride_);
    d_memory_ = take(rows.count() * stride_);
    d_reset_h_ = resets_h<Cell> ? take(rows.count() * stride_) : nullptr;
    inputs_ = take(most_pairs_ * inputs_stride_);
  }

  // The gradients of states after the last step; zeros for inputs of steps that are not valid.
  void begin() {
    for (Index r = 0; r < rows_.count(); ++r) {
      S *d_h = d_h_ + r * stride_, *d_memory = d_memory_ + r * stride_;
      clear(d_h, stride_), clear(d_memory, stride_);
      if (layer_.valid) silence(r, d_memory);
      read(layer_.element, gradients_.d_h_end, rows_.row(r) * layer_.hidden, layer_.hidden, d_h);
      if (!Cell::memory_is_output) copy_state(static_cast<const S*>(gradients_.d_memory_end), r, d_memory);
    }
  }

  void run_chunk(Index number, const Crew& crew) {
    const Index begin = number * layer_.chunk, longest = rows_.longest();
    const Index end = begin + layer_.chunk < longest ? begin + layer_.chunk : longest;
    chunk_.set(rows_, begin, end > begin ? end : begin, rows_.count());
    if (chunk_.pairs() == 0) return;
    crew.split(chunk_.pairs(), [&](Index from, Index to) { take_inputs(from, to); });
    if constexpr (resets_h<Cell>) crew.split(panels_.count(), [&](Index from, Index to) { reset_states(from, to); });
    crew.split(panels_.count(), [&](Index from, Index to) {
      if (gates_) compute_gates(from, to);
      if constexpr (!Cell::memory_is_output) remember(number, from, to);
    });
    for (Index s = end; s-- > begin;) {
      crew.split(panels_.count(), [&](Index from, Index to) { through_gates(s, from, to); });
      if constexpr (resets_h<Cell>) crew.split(h_columns_.count(), [&](Index from, Index to) { through_reset(s, from, to); });
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

  // Adds what this chunk gives to rows m of panel p of the weights' gradients: first those of W_x and b, then of W_h and b_h.
  void add_to_weights(Index p, Index begin, Index end, S* sums) const {
    with_width<S>(panels_.width(p), [&](auto width) {
      constexpr int N = static_cast<int>(divide_up(gates * width, lanes<S>));
      for (Index pair = 0; pair < chunk_.pairs(); pair += sum_rows) {
        const Index depth = pair + sum_rows < chunk_.pairs() ? sum_rows : chunk_.pairs() - pair;
        // For gates first .. last; the inputs of rows from .. to lie from place from + shift on.
        const auto add_rows = [&](auto first, auto last, Index from, Index to, Index shift, const S* d_shares) {
          constexpr int some = static_cast<int>(divide_up((last - first) * width, lanes<S>));
          const Index skipped = first * width;
          in_tiles(from, to, [&](auto R, Index m) {
            add_outer_products<S, R, some, N>(inputs_ + pair * inputs_stride_ + shift + m, inputs_stride_, d_shares + skipped, depth,
                                              sums + m * N * lanes<S> + skipped);
          });
        };
        const Index parts = layer_.inputs + 1, h_begin = begin > parts ? begin : parts;
        if (begin < parts) add_rows(constant<0>, constant<gates>, begin, end < parts ? end : parts, 0, share(d_x_shares_, p, pair));
        if (end <= parts) continue;
        add_rows(constant<0>, constant<Cell::gates_of_h>, h_begin, end, 0, share(d_h_shares_, p, pair));
        if constexpr (resets_h<Cell>) {
          add_rows(constant<Cell::gates_of_h>, constant<gates>, h_begin, end, layer_.hidden + 1, share(d_h_shares_, p, pair));
        }
      }
    });
  }

 private:
  Index numbers() const {
    const Index per_pair = (Cell::has_second_share ? 2 : 1) * panels_.total() + (gradients_.gates ? 0 : 4 * panels_.padded()) +
                           2 * panels_.padded() + inputs_stride_;
    return most_pairs_ * per_pair + 3 * rows_.count() * stride_;
  }

  void silence(Index r, const S* zeros) const {
    for (Index t = 0; t < layer_.steps; ++t) {
      if (rows_.is_valid(r, t)) continue;
      const Index at_step = rows_.row(r) * gradients_.d_xs.row_stride + t * gradients_.d_xs.step_stride;
      for (Index j = 0; j < layer_.inputs; ++j) write(layer_.element, zeros, 1, gradients_.d_xs.data, at_step + j);
    }
  }

  void copy_state(const S* from, Index r, S* to) const {
    copy(from + rows_.row(r) * layer_.hidden, layer_.hidden, to);
  }

  void give_state(const S* from, Index r, void* to) const {
    copy(from, layer_.hidden, static_cast<S*>(to) + rows_.row(r) * layer_.hidden);
  }

  static void add(const S* from, Index begin, Index end, S* to) {
    for (Index j = begin; j < end; ++j) to[j] += from[j];
  }

  void thin(Index r, Index begin, Index end, S* h) const {
    if (!layer_.h_mask) return;
    for (Index j = begin; j < end; ++j) {
      S factor;
      read(layer_.element, layer_.h_mask, rows_.row(r) * layer_.hidden + j, 1, &factor);
      h[j] *= factor;
    }
  }

  // For each pair a row [x, 1, h, 1]: a bias is a weight whose input is 1. Where r * h has a product, it follows, then zeros.
  void take_inputs(Index from, Index to) {
    chunk_.each(from, to, [&](Index s, Index r, Index pair) {
      const Index row = rows_.row(r);
      S *x = inputs_ + pair * inputs_stride_, *h = x + layer_.inputs + 1;
      read(layer_.element, layer_.xs.data, row * layer_.xs.row_stride + rows_.time(r, s) * layer_.xs.step_stride, layer_.inputs, x);
      x[layer_.inputs] = h[layer_.hidden] = S{1};
      if (rows_.is_reset(r, s)) {
        read(layer_.element, layer_.h_initial, row * layer_.hidden, layer_.hidden, h);
      } else if (s == 0) {
        read(layer_.element, layer_.h_start, row * layer_.hidden, layer_.hidden, h);
      } else {
        read(layer_.element, layer_.ys.data, row * layer_.ys.row_stride + rows_.time(r, s - 1) * layer_.ys.step_stride, layer_.hidden, h);
      }
      if constexpr (Cell::memory_is_output) {
        S* const before = before_ + pair * panels_.padded();
        clear(before + panels_.padded() - lanes<S>, panels_.padded() < lanes<S> ? 0 : lanes<S>);
        if (panels_.padded() < lanes<S>) clear(before, panels_.padded());
        copy(h, layer_.hidden, before);
      }
      thin(r, 0, layer_.hidden, h);
      if (layer_.h_mask && layer_.element == Element::bfloat16) round_units(h, layer_.hidden);
      if constexpr (resets_h<Cell>) clear(reset_h(pair), stride_);
    });
  }

  S* h(Index pair) const { return inputs_ + pair * inputs_stride_ + layer_.inputs + 1; }
  S* reset_h(Index pair) const { return h(pair) + layer_.hidden + 1; }
  S* own_gates(Index p, Index pair) const { return gates_ + p * lanes<S> * 4 * most_pairs_ + pair * panels_.width(p) * 4; }

  S* share(S* shares, Index p, Index pair) const { return shares + panels_.before(p) * most_pairs_ + pair * panels_.row(p); }

  const S* kept(Index s, Index r, Index p) const {
    if (gates_) return own_gates(p, chunk_.pair(s, r));
    return static_cast<const S*>(gradients_.gates) + ((s * layer_.rows + rows_.row(r)) * panels_.padded() + p * lanes<S>) * 4;
  }

  // r * h of the chunk, for the units of some panels; where gates are not kept, first those of h.
  void reset_states(Index from, Index to) {
    if (gates_) open_gates(from, to);
    chunk_.each(0, chunk_.pairs(), [&](Index s, Index r, Index pair) {
      for (Index p = from; p < to; ++p) {
        const Index unit = p * lanes<S>;
        reset_units(layer_.element, kept(s, r, p), h(pair) + unit, panels_.used(p), reset_h(pair) + unit);
      }
    });
  }

  void open_gates(Index from, Index to) {
    each_tile(from, to, [&](auto width, auto R, Index p, Index pair) {
      constexpr int N = static_cast<int>(divide_up(gates * width, lanes<S>));
      constexpr int some = static_cast<int>(divide_up(Cell::gates_of_h * width, lanes<S>));
      alignas(64) S x_share[R * N * lanes<S>], h_share[R * some * lanes<S>];
      multiply_inputs<R, N>(p, pair, x_share);
      rows_times_gates<S, R, width, 0, Cell::gates_of_h>(h(pair), inputs_stride_, weights_, panels_, p, h_share);
      S* const out = own_gates(p, pair);
      for (int q = 0; q < R; ++q) Cell::template open<width>(x_share + q * N * lanes<S>, h_share + q * some * lanes<S>, out + q * width * 4);
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
      rows_times_gates<S, R, width, first, gates>(states, inputs_stride_, weights_, panels_, p, h_share);
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
      with_width<S>(panels_.width(p), [&](auto width) { in_tiles(0, chunk_.pairs(), [&](auto R, Index pair) { f(width, R, p, pair); }); });
    }
  }

  // x W_x + b for R pairs, in panel p.
  template <int R, int N>
  void multiply_inputs(Index p, Index pair, S* out) const {
    rows_times_panel<S, R, N>(inputs_ + pair * inputs_stride_, inputs_stride_, weights_.w_x + panels_.before(p) * layer_.inputs, layer_.inputs,
                              weights_.b + panels_.before(p), out);
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

  // From the gradients of a step's state to those of its pre-activations, for the units of some panels.
  void through_gates(Index s, Index from, Index to) {
    const Index begin = from * lanes<S>, end = to < panels_.count() ? to * lanes<S> : layer_.hidden;
    for (Index r = 0; r < chunk_.live(s); ++r) {
      const Index pair = chunk_.pair(s, r);
      S *const d_h = d_h_ + r * stride_, *const d_memory = d_memory_ + r * stride_;
      add_output_gradient(s, r, begin, end, d_h);
      for (Index p = from; p < to; ++p) {
        const Index unit = p * lanes<S>, at_unit = pair * panels_.padded() + unit;
        with_width<S>(panels_.width(p), [&](auto width) {
          Cell::template backward<width>(kept(s, r, p), before_ + at_unit, after_ + at_unit, d_h + unit, d_memory + unit,
                                         share(d_x_shares_, p, pair), share(d_h_shares_, p, pair));
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
            Cell::template through_reset<width>(kept(s, r, p), reset_h(pair) + unit, d_reset_h_ + r * stride_ + unit, share(d_h_shares_, p, pair));
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
        panels_times_columns<S, R, N>(d_shares(d_h_shares_), chunk_.pair(s, r), panels_, some, w, out + r * stride_ + unit, stride_);
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
        if constexpr (resets_h<Cell>) add(d_reset_h_ + r * stride_, unit, unit + h_columns_.used(q), d_h_ + r * stride_);
        thin(r, unit, unit + h_columns_.used(q), d_h_ + r * stride_);
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
            const Index at_step = rows_.row(r) * gradients_.d_xs.row_stride + rows_.time(r, s) * gradients_.d_xs.step_stride;
            write(layer_.element, tile + (here - pair) * N * lanes<S>, x_columns_.used(q), gradients_.d_xs.data, at_step + q * x_columns_.wide);
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
  const Packed<S> weights_;
  const S *turned_h_, *turned_x_;
  const Index stride_, inputs_stride_, most_pairs_;
  Chunk chunk_;
  Scratch memory_block_;
  S *d_x_shares_, *d_h_shares_, *gates_, *before_, *after_, *d_h_, *d_memory_, *d_reset_h_, *inputs_;
};

// The sums of weight gradients in panels, as long as they grow.
template <class S, class Cell>
class WeightSums {
 public:
  WeightSums(const Layer& layer, const Gradients& gradients)
      : layer_(layer),
        gradients_(gradients),
        panels_(panels_for<S, Cell>(layer.hidden)),
        rows_(layer.inputs + layer.hidden + 2),
        memory_(static_cast<std::size_t>(rows_ * panels_.total()) * sizeof(S)) {}

  Index blocks() const { return divide_up(rows_, tile_rows); }

  void begin(Index from, Index to) {
    for (Index p = 0; p < panels_.count(); ++p) {
      const Index begin = from * tile_rows, end = last_row(to);
      clear(panel(p) + begin * panels_.row(p), (end - begin) * panels_.row(p));
    }
  }

  template <class Walk>
  void add(const Walk& walk, Index from, Index to) {
    for (Index p = 0; p < panels_.count(); ++p) walk.add_to_weights(p, from * tile_rows, last_row(to), panel(p));
  }

  // Rows of the sums to the caller's arrays.
  void give(Index from, Index to) const {
    const Index width = Cell::gates * layer_.hidden;
    for (Index m = from * tile_rows; m < last_row(to); ++m) {
      S* const out = row_of_caller(m, width);
      for (Index p = 0; p < panels_.count(); ++p) {
        const S* const sums = panel(p) + m * panels_.row(p);
        for (int g = 0; g < Cell::gates; ++g) {
          copy(sums + g * panels_.width(p), panels_.used(p), out + g * layer_.hidden + p * lanes<S>);
        }
      }
    }
  }

 private:
  Index last_row(Index block) const { return block * tile_rows < rows_ ? block * tile_rows : rows_; }
  S* panel(Index p) const { return memory_.as<S>() + panels_.before(p) * rows_; }
  S* row_of_caller(Index m, Index width) const {
    if (m < layer_.inputs) return static_cast<S*>(gradients_.d_w_x) + m * width;
    if (m == layer_.inputs) return static_cast<S*>(gradients_.d_b);
    m -= layer_.inputs + 1;
    return m < layer_.hidden ? static_cast<S*>(gradients_.d_w_h) + m * width : static_cast<S*>(gradients_.d_b_h);
  }

  const Layer& layer_;
  const Gradients& gradients_;
  const Panels<S> panels_;
  const Index rows_;
  Scratch memory_;
};

// Backward with rows cut into `shares`, each with a crew of its own.
template <class S, class Cell>
class Walks {
 public:
  using Walk = Backward<S, Cell>;
  Walks(const Layer& layer, const Gradients& gradients, const Schedule& schedule, Index shares)
      : count_(shares), memory_(static_cast<std::size_t>(shares) * sizeof(Walk)) {
    for (Index i = 0; i < shares; ++i) new (&walk(i)) Walk(layer, gradients, Rows(layer, schedule, i, shares));
  }
  ~Walks() {
    for (Index i = 0; i < count_; ++i) walk(i).~Walk();
  }
  Walks(const Walks&) = delete;
  Walks& operator=(const Walks&) = delete;

  int count() const { return static_cast<int>(count_); }
  Walk& walk(Index i) const { return memory_.as<Walk>()[i]; }

 private:
  Index count_;
  Scratch memory_;
};

template <class S, class Cell>
void backward(const Layer& layer, const Gradients& gradients, const Crew& crew) {
  const Schedule schedule(layer);
  const Index state = layer.rows * layer.hidden;
  if (gradients.d_h_initial) clear(static_cast<S*>(gradients.d_h_initial), state);
  if (gradients.d_memory_initial) clear(static_cast<S*>(gradients.d_memory_initial), state);

  const Index weight_bytes = layer.hidden * layer.hidden * Cell::gates * static_cast<Index>(sizeof(S));
  const bool together = shares_units(layer, crew.size(), weight_bytes);
  const Index shares = together ? 1 : crew.size() < layer.rows ? crew.size() : layer.rows;
  const Crew crew_of_walk = together ? crew : Crew{nullptr};
  const Crew over_walks = together ? Crew{nullptr} : crew;

  const Walks<S, Cell> walks(layer, gradients, schedule, shares);
  WeightSums<S, Cell> sums(layer, gradients);
  crew.split(sums.blocks(), [&](Index from, Index to) { sums.begin(from, to); });
  over_walks.each(walks.count(), [&](int i) { walks.walk(i).begin(); });
  const Index longest = layer.rows > 0 ? schedule.length(schedule.row(0)) : 0;
  for (Index number = divide_up(longest, layer.chunk); number-- > 0;) {
    over_walks.each(walks.count(), [&](int i) { walks.walk(i).run_chunk(number, crew_of_walk); });
    crew.split(sums.blocks(), [&](Index from, Index to) {
      for (int i = 0; i < walks.count(); ++i) sums.add(walks.walk(i), from, to);
    });
  }
  over_walks.each(walks.count(), [&](int i) { walks.walk(i).finish(); });
  crew.split(sums.blocks(), [&](Index from, Index to) { sums.give(from, to); });
}

}  // namespace lstmjax::LSTMJAX_ISA
