// Matrix products, a tile at a time: R rows of up to four vectors, whose sums stay in registers.
//
// Each is a function of its own: inlined into a larger one, compilers put the sums into memory.
#pragma once
#include "panels.h"

namespace lstmjax::LSTMJAX_ISA {

template <class S, int R, int N>
struct Sums {
  Vector<S> row[R][N];
};

// sums[r] += sum over k < depth of a[r * row_stride + k * depth_stride] * w[k], where w[k] are N vectors of a row of
// `row`.
template <class S, int R, int N, int row = N, class RowStride, class DepthStride>
[[gnu::always_inline]] inline void multiply(Sums<S, R, N>& sums, const S* a, RowStride row_stride,
                                            DepthStride depth_stride, const S* w, Index depth) {
  for (Index k = 0; k < depth; ++k, w += row * lanes<S>) {
    Vector<S> column[N];
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n) column[n] = load<Vector<S>>(w + n * lanes<S>);
#pragma GCC unroll 6
    for (int r = 0; r < R; ++r) {
      const Vector<S> x = a[r * row_stride + k * depth_stride] - Vector<S>{};
#pragma GCC unroll 4
      for (int n = 0; n < N; ++n) sums.row[r][n] += x * column[n];
    }
  }
}

template <class S, int R, int N>
[[gnu::always_inline]] inline void put(const Sums<S, R, N>& sums, S* out, Index out_stride) {
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n) store(out + r * out_stride + n * lanes<S>, sums.row[r][n]);
  }
}

using One = std::integral_constant<Index, 1>;

// out[r] = start + a[r] w: rows of a times a panel of weights. `start` is one row.
template <class S, int R, int N>
[[gnu::noinline]] void rows_times_panel(const S* a, Index a_stride, const S* w, Index depth, const S* start, S* out) {
  Sums<S, R, N> sums;
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n) sums.row[r][n] = load<Vector<S>>(start + n * lanes<S>);
  }
  multiply<S, R, N>(sums, a, a_stride, One{}, w, depth);
  put<S, R, N>(sums, out, N * lanes<S>);
}

// Rows that lie in panels: row r of panel p at data + p * panel_stride + r * (numbers in a row of panel p).
template <class S>
struct PanelRows {
  const S* data;
  Index panel_stride;
};

// out[r] = a[r] w, a in panels, of which some gates are taken, w one panel of columns.
template <class S, int R, int N>
[[gnu::noinline]] void panels_times_columns(PanelRows<S> a, Index first, const Panels<S>& panels, Gates gates,
                                            const S* w, S* out, Index out_stride) {
  Sums<S, R, N> sums{};
  const Index wide = panels.gates * lanes<S>, skipped = gates.begin * lanes<S>, depth = gates.count() * lanes<S>;
  const S* from = a.data + first * wide + skipped;
  w += skipped * N * lanes<S>;
  for (Index p = 0; p < panels.full; ++p, from += a.panel_stride, w += wide * N * lanes<S>) {
    multiply<S, R, N>(sums, from, wide, One{}, w, depth);
  }
  if (panels.last > 0) {
    const Index row = panels.row(panels.full), skipped_last = gates.begin * panels.last;
    from = a.data + panels.full * a.panel_stride + first * row + skipped_last;
    w -= (skipped - skipped_last) * N * lanes<S>;
    multiply<S, R, N>(sums, from, row, One{}, w, gates.count() * panels.last);
  }
  put<S, R, N>(sums, out, out_stride);
}

// out[m] += sum over k of a[k][m] d[k]: R rows of N of the `row` vectors of a panel of a weight's gradient, from
// `depth` rows of a and d.
template <class S, int R, int N, int row = N>
[[gnu::noinline]] void add_outer_products(const S* a, Index a_stride, const S* d, Index depth, S* out) {
  Sums<S, R, N> sums;
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n) sums.row[r][n] = load<Vector<S>>(out + (r * row + n) * lanes<S>);
  }
  multiply<S, R, N, row>(sums, a, One{}, a_stride, d, depth);
  put<S, R, N>(sums, out, row * lanes<S>);
}

// out[r] = b_h + h[r] W_h for the gates first .. last of panel p, `width` units wide.
template <class S, int R, int width, int first, int last>
[[gnu::always_inline]] inline void rows_times_gates(const S* h, Index h_stride, const Packed<S>& weights,
                                                    const Panels<S>& panels, Index p, S* out) {
  constexpr int N = static_cast<int>(divide_up((last - first) * width, lanes<S>));
  const Index skipped = panels.before(p) + first * width;
  rows_times_panel<S, R, N>(h, h_stride, weights.w_h + skipped * panels.units, panels.units, weights.b_h + skipped,
                            out);
}

// Calls f(R, r) with R a compile-time number of rows, for tiles that cover rows 0 .. count.
template <class F>
[[gnu::always_inline]] inline void in_tiles(Index begin, Index end, F&& f) {
  Index r = begin;
  for (; r + tile_rows <= end; r += tile_rows) f(std::integral_constant<int, tile_rows>{}, r);
  const Index left = end - r;
  if constexpr (tile_rows > 3) {
    if (left == 5) f(std::integral_constant<int, 5>{}, r);
    if (left == 4) f(std::integral_constant<int, 4>{}, r);
    if (left == 3) f(std::integral_constant<int, 3>{}, r);
  }
  if (left == 2) f(std::integral_constant<int, 2>{}, r);
  if (left == 1) f(std::integral_constant<int, 1>{}, r);
}

// Calls f(N) with N a compile-time number of vectors.
template <class F>
[[gnu::always_inline]] inline void with_vectors(int n, F&& f) {
  if (n == 4) f(std::integral_constant<int, 4>{});
  if (n == 3) f(std::integral_constant<int, 3>{});
  if (n == 2) f(std::integral_constant<int, 2>{});
  if (n == 1) f(std::integral_constant<int, 1>{});
}

}  // namespace lstmjax::LSTMJAX_ISA
