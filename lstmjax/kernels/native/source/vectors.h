// Vectors of the instruction set that this is compiled for, and the functions of gates on them.
#pragma once
#include <cstdint>
#include <type_traits>

#include "layer.h"

namespace lstmjax::LSTMJAX_ISA {

#if defined(__AVX512F__)
constexpr int vector_bytes = 64;
#elif defined(__AVX__)
constexpr int vector_bytes = 32;
#else
constexpr int vector_bytes = 16;
#endif

// Rows of a tile whose sums, with four vectors a row, fit the registers.
#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int tile_rows = 6;
#else
constexpr int tile_rows = 3;
#endif

template <class S>
constexpr int lanes = vector_bytes / static_cast<int>(sizeof(S));

template <class S, int width>
struct VectorOf {
  typedef S Type __attribute__((vector_size(width * sizeof(S))));
};
template <class S, int width = lanes<S>>
using Vector = typename VectorOf<S, width>::Type;

template <class V, class S>
[[gnu::always_inline]] inline V load(const S* from) {
  V v;
  __builtin_memcpy(&v, from, sizeof v);
  return v;
}

template <class V, class S>
[[gnu::always_inline]] inline void store(S* to, V v) {
  __builtin_memcpy(to, &v, sizeof v);
}

// A fraction that is not divided yet: sums and products of gates need one division in all.
template <class V>
struct Ratio {
  V over, under;
};
template <class V>
[[gnu::always_inline]] inline Ratio<V> operator*(Ratio<V> a, Ratio<V> b) {
  return {a.over * b.over, a.under * b.under};
}
template <class V>
[[gnu::always_inline]] inline Ratio<V> operator*(Ratio<V> a, V b) {
  return {a.over * b, a.under};
}
template <class V>
[[gnu::always_inline]] inline Ratio<V> operator+(Ratio<V> a, Ratio<V> b) {
  return {a.over * b.under + b.over * a.under, a.under * b.under};
}
template <class V>
[[gnu::always_inline]] inline V value(Ratio<V> a) {
  return a.over / a.under;
}

// The comparisons are written so that NaN comes out where it goes in.
template <class V>
[[gnu::always_inline]] inline V clip(V x, V most) {
  x = x > most ? most : x;
  return x < -most ? -most : x;
}

template <class S>
struct Exponential;
template <>
struct Exponential<float> {
  using Bits = int32_t;
  static constexpr int mantissa_bits = 23, degree = 7;
  static constexpr float ln2_high = 0.693359375f, ln2_low = -2.12194440e-4f;
  static constexpr float round = 12582912.0f;  // 1.5 * 2^23: added and taken away, it leaves a whole number
  static constexpr float most = 28.0f;         // products of three denominators stay finite; sigmoid(28) = 1 - 7e-13
};
template <>
struct Exponential<double> {
  using Bits = int64_t;
  static constexpr int mantissa_bits = 52, degree = 13;
  static constexpr double ln2_high = 6.93145751953125e-1, ln2_low = 1.42860682030941723212e-6;
  static constexpr double round = 6755399441055744.0;
  static constexpr double most = 44.0;
};

constexpr double one_over_factorial(int n) {
  return n < 2 ? 1.0 : one_over_factorial(n - 1) / n;
}

template <class S, class V, int k>
[[gnu::always_inline]] inline V taylor(V r) {
  if constexpr (k == Exponential<S>::degree) {
    return V{} + static_cast<S>(one_over_factorial(k));
  } else {
    return taylor<S, V, k + 1>(r) * r + static_cast<S>(one_over_factorial(k));
  }
}

// e^x for |x| <= 2 * Exponential::most: x = k ln 2 + r, e^x = 2^k e^r.
template <class S, int width>
[[gnu::always_inline]] inline Vector<S, width> exponential(Vector<S, width> x) {
  using E = Exponential<S>;
  using V = Vector<S, width>;
  using Bits = Vector<typename E::Bits, width>;
  const V shifted = x * static_cast<S>(1.44269504088896340736) + E::round;
  const V k = shifted - E::round;
  const V r = (x - k * E::ln2_high) - k * E::ln2_low;
  const Bits one = reinterpret_cast<Bits>(V{} + S{1});
  const V power = reinterpret_cast<V>((reinterpret_cast<Bits>(shifted) << E::mantissa_bits) + one);
  return taylor<S, V, 0>(r) * power;
}

template <class S, int width>
[[gnu::always_inline]] inline Ratio<Vector<S, width>> sigmoid(Vector<S, width> x) {
  using V = Vector<S, width>;
  const V one = V{} + S{1}, most = V{} + Exponential<S>::most;
  return {x < -most ? V{} : one, one + exponential<S, width>(-clip(x, most))};
}

// Rational approximations: for float that of Eigen's tanh; for double, near 0, that of Cephes, and (e^2x - 1) / (e^2x +
// 1).
template <class S, int width>
[[gnu::always_inline]] inline Ratio<Vector<S, width>> tanh(Vector<S, width> x) {
  using V = Vector<S, width>;
  if constexpr (std::is_same_v<S, float>) {
    const V y = clip(x, V{} + 7.90531110763549805f), z = y * y;
    V over = z * -2.76076847742355e-16f + 2.00018790482477e-13f;
    over = z * over - 8.60467152213735e-11f;
    over = z * over + 5.12229709037114e-08f;
    over = z * over + 1.48572235717979e-05f;
    over = z * over + 6.37261928875436e-04f;
    over = z * over + 4.89352455891786e-03f;
    V under = z * 1.19825839466702e-06f + 1.18534705686654e-04f;
    under = z * under + 2.26843463243900e-03f;
    under = z * under + 4.89352518554385e-03f;
    const V most = V{} + 7.90531110763549805f;  // beyond, exactly 1: a slope left over would be times the input
    return {x > most ? under : x < -most ? -under : y * over, under};
  } else {
    const V y = clip(x, V{} + Exponential<S>::most / 2), z = y * y;
    const V over = (z * -9.64399179425052238628e-1 - 9.92877231001918586564e1) * z - 1.61468768441708447952e3;
    const V under = ((z + 1.12811678491632931402e2) * z + 2.23548839060100448583e3) * z + 4.84406305325125486048e3;
    const V power = exponential<S, width>(y + y);
    const auto small = z < V{} + 0.390625;
    return {small ? y * (under + z * over) : power - 1.0, small ? under : power + 1.0};
  }
}

}  // namespace lstmjax::LSTMJAX_ISA
