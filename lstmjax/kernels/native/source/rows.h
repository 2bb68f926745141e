// Which steps each sequence goes through, and how sequences are dealt to threads.
#pragma once
#include "panels.h"
#include "scratch.h"
#include "team.h"

namespace lstmjax::LSTMJAX_ISA {

// The whole team, or one thread of it alone.
struct Crew {
  Team* team;

  int size() const { return team ? team->size() : 1; }

  template <class F>
  void each(int shares, const F& f) const {
    if (team) return team->each(shares, f);
    for (int i = 0; i < shares; ++i) f(i);
  }

  // f(begin, end) over parts of 0 .. count.
  template <class F>
  void split(Index count, const F& f) const {
    const Index parts = size() < count ? size() : count;
    each(static_cast<int>(parts), [&](int i) {
      const Index begin = count * i / parts, end = count * (i + 1) / parts;
      if (begin < end) f(begin, end);
    });
  }
};

// Each row's valid steps in the order in which they are run. Any mask becomes a length: what is not valid is not there.
class Schedule {
 public:
  explicit Schedule(const Layer& layer)
      : layer_(layer),
        memory_(static_cast<std::size_t>(2 * layer.rows + layer.steps + 2) * sizeof(Index) +
                (layer.valid ? static_cast<std::size_t>(layer.rows * layer.steps) * sizeof(int32_t) : 0)),
        lengths_(memory_.as<Index>()),
        order_(lengths_ + layer.rows) {
    Index* const buckets = order_ + layer.rows;
    if (layer.valid) {
      times_ = reinterpret_cast<int32_t*>(buckets + layer.steps + 2);
      list_valid_steps();
      put_longest_first(buckets);
    } else {
      for (Index b = 0; b < layer.rows; ++b) lengths_[b] = layer.steps, order_[b] = b;
    }
  }

  Index row(Index place) const { return order_[place]; }  // longest first
  Index length(Index row) const { return lengths_[row]; }
  Index time(Index row, Index step) const {
    if (times_) return times_[row * layer_.steps + step];
    return layer_.reverse ? layer_.steps - 1 - step : step;
  }
  bool is_reset(Index row, Index step) const {
    return layer_.resets && layer_.resets[time(row, step) * layer_.rows + row];
  }
  bool is_valid(Index row, Index time) const { return !layer_.valid || layer_.valid[time * layer_.rows + row]; }

 private:
  void list_valid_steps() {
    for (Index b = 0; b < layer_.rows; ++b) {
      Index count = 0;
      for (Index s = 0; s < layer_.steps; ++s) {
        const Index t = layer_.reverse ? layer_.steps - 1 - s : s;
        if (layer_.valid[t * layer_.rows + b]) times_[b * layer_.steps + count++] = static_cast<int32_t>(t);
      }
      lengths_[b] = count;
    }
  }

  // A counting sort, which keeps the order of equals.
  void put_longest_first(Index* buckets) {
    for (Index n = 0; n <= layer_.steps + 1; ++n) buckets[n] = 0;
    for (Index b = 0; b < layer_.rows; ++b) ++buckets[layer_.steps - lengths_[b] + 1];
    for (Index n = 1; n <= layer_.steps; ++n) buckets[n] += buckets[n - 1];
    for (Index b = 0; b < layer_.rows; ++b) order_[buckets[layer_.steps - lengths_[b]]++] = b;
  }

  const Layer& layer_;
  Scratch memory_;
  Index *lengths_, *order_;
  int32_t* times_ = nullptr;
};

// The rows of one share: every `stride`-th of the schedule, so that shares are alike in length.
class Rows {
 public:
  Rows(const Layer& layer, const Schedule& schedule, Index share, Index stride)
      : layer_(layer),
        schedule_(schedule),
        share_(share),
        stride_(stride),
        count_(divide_up(layer.rows - share, stride)) {}

  Index count() const { return count_; }
  Index row(Index r) const { return schedule_.row(share_ + r * stride_); }
  Index length(Index r) const { return schedule_.length(row(r)); }
  Index longest() const { return count_ > 0 ? length(0) : 0; }

  // How many rows go through this step, the first ones, from how many went through the one before.
  Index live(Index step, Index before) const {
    while (before > 0 && length(before - 1) <= step) --before;
    return before;
  }
  Index time(Index r, Index step) const { return schedule_.time(row(r), step); }
  bool is_reset(Index r, Index step) const { return schedule_.is_reset(row(r), step); }
  bool is_valid(Index r, Index time) const { return schedule_.is_valid(row(r), time); }

 private:
  const Layer& layer_;
  const Schedule& schedule_;
  Index share_, stride_, count_;
};

// Some steps of some rows. Pair (s, r) is row r's step s: pairs are numbered step by step, over the rows that are live.
class Chunk {
 public:
  explicit Chunk(Index most_steps)
      : memory_(static_cast<std::size_t>(most_steps + 1) * sizeof(Index)), first_(memory_.as<Index>()) {}

  void set(const Rows& rows, Index begin, Index end, Index live_before) {
    begin_ = begin, end_ = end, first_[0] = 0;
    for (Index s = begin; s < end; ++s) {
      live_before = rows.live(s, live_before);
      first_[s - begin + 1] = first_[s - begin] + live_before;
    }
  }

  Index begin() const { return begin_; }
  Index end() const { return end_; }
  Index pairs() const { return first_[end_ - begin_]; }
  Index live(Index s) const { return first_[s - begin_ + 1] - first_[s - begin_]; }
  Index pair(Index s, Index r) const { return first_[s - begin_] + r; }

  // f(s, r, pair) for the pairs begin .. end.
  template <class F>
  void each(Index begin, Index end, const F& f) const {
    for (Index s = begin_; s < end_; ++s) {
      const Index from = first_[s - begin_], to = first_[s - begin_ + 1];
      for (Index pair = begin > from ? begin : from; pair < (end < to ? end : to); ++pair) f(s, pair - from, pair);
    }
  }

 private:
  Scratch memory_;
  Index* first_;
  Index begin_ = 0, end_ = 0;
};

// Calls f(width) with the width of panel p as a compile-time number.
template <class S, class F>
[[gnu::always_inline]] inline void with_width(int width, F&& f) {
  constexpr int whole = lanes<S>;
  if (width == whole) f(std::integral_constant<int, whole>{});
  if constexpr (whole >= 4) {
    if (width == whole / 2) f(std::integral_constant<int, whole / 2>{});
  }
  if constexpr (whole >= 8) {
    if (width == whole / 4) f(std::integral_constant<int, whole / 4>{});
  }
}

// Whether threads share the units of a layer and go step by step together, rather than each take rows of its own: where
// each would have few rows for the weights it must read.
inline bool shares_units(const Layer& layer, Index threads, Index weight_bytes) {
  if (threads == 1) return false;
  const Index rows = layer.rows / threads;
  return rows < 2 * tile_rows ? weight_bytes > 64 * 1024 : rows < 4 * tile_rows && weight_bytes > 4096 * 1024;
}

}  // namespace lstmjax::LSTMJAX_ISA
