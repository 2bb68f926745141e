// The gradients of weights: sums over all steps of all rows.
#pragma once
#include "backward.h"

namespace lstmjax::LSTMJAX_ISA {

// Rows of such a sum for which a panel of their gradients stays in the nearest cache.
constexpr Index sum_rows = 96;

// In panels as long as they grow. Their rows are those of W_x, b, W_h and b_h: a bias is a weight whose input is 1.
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

  // Adds what one walk's chunk gives to some rows.
  void add(const Backward<S, Cell>& walk, Index from, Index to) {
    for (Index p = 0; p < panels_.count(); ++p) add(walk, p, from * tile_rows, last_row(to), panel(p));
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
  // Rows begin .. end of panel p.
  void add(const Backward<S, Cell>& walk, Index p, Index begin, Index end, S* sums) const {
    const Index pairs = walk.pairs(), stride = walk.trace().stride();
    with_width<S>(panels_.width(p), [&](auto width) {
      constexpr int N = static_cast<int>(divide_up(Cell::gates * width, lanes<S>));
      for (Index pair = 0; pair < pairs; pair += sum_rows) {
        const Index depth = pair + sum_rows < pairs ? sum_rows : pairs - pair;
        // For gates first .. last; the inputs of rows from .. to lie from place from + shift on.
        const auto add_rows = [&](auto first, auto last, Index from, Index to, Index shift, const S* d_shares) {
          constexpr int some = static_cast<int>(divide_up((last - first) * width, lanes<S>));
          const Index skipped = first * width;
          in_tiles(from, to, [&](auto R, Index m) {
            add_outer_products<S, R, some, N>(walk.trace().inputs(pair) + shift + m, stride, d_shares + skipped, depth,
                                              sums + m * N * lanes<S> + skipped);
          });
        };
        const Index parts = layer_.inputs + 1, h_begin = begin > parts ? begin : parts;
        if (begin < parts)
          add_rows(constant<0>, constant<Cell::gates>, begin, end < parts ? end : parts, 0, walk.d_x_share(p, pair));
        if (end <= parts) continue;
        add_rows(constant<0>, constant<Cell::gates_of_h>, h_begin, end, 0, walk.d_h_share(p, pair));
        if constexpr (resets_h<Cell>) {
          add_rows(constant<Cell::gates_of_h>, constant<Cell::gates>, h_begin, end, layer_.hidden + 1,
                   walk.d_h_share(p, pair));
        }
      }
    });
  }

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

}  // namespace lstmjax::LSTMJAX_ISA
