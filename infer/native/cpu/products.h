// Matrix products of a few streams by panels of packed weights, in float32 and in int8.
//
// A panel holds four vectors of columns side by side, one row of weights after another, so that it
// is read once, in order. Every sum runs over the rows in their order, whatever the number of
// streams.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>

#include "simd.h"

namespace {

constexpr int kWide = 4;                  // vectors of a panel
constexpr int kColumns = kWide * kLanes;  // columns of a panel
#if defined(__SSE2__) && !defined(__FMA__)
constexpr int kTogether = 2;  // a product needs a register of its own
#else
constexpr int kTogether = kRegisters == 32 ? 6 : 3;  // streams whose sums the registers hold
#endif
constexpr int kPanelsAlone = kRegisters == 32 ? 4 : 3;  // panels at once where there is one stream

inline std::int64_t rounded_up(std::int64_t n, std::int64_t to) { return (n + to - 1) / to * to; }

// float32. Rows are taken one by one.
struct Float32 {
  using Input = float;
  using Weight = float;
  using Sums = Floats;
  static constexpr int kGroup = 1;  // rows that one step takes
  static Floats weights(const Weight* w) { return load(w); }
  static Floats broadcast(const Input* x) { return all(*x); }
  static Sums add(Sums s, Floats x, Floats w) { return fused(x, w, s); }
};

// int8: inputs are round(127 x), weights a column's own scale times -127 to 127, sums exact.
#if defined(__AVX512VNNI__) || defined(__AVXVNNI__)
struct Int8 {
  using Input = std::uint8_t;  // 128 more than it stands for
  using Weight = std::int8_t;
  using Sums = Ints;
  static constexpr int kGroup = 4, kZero = 128;
  static Ints weights(const Weight* w) {
    return *reinterpret_cast<const VectorOf<std::int32_t, kLanes>::Anywhere*>(w);
  }
  static Ints broadcast(const Input* x) {
    std::int32_t four;
    std::memcpy(&four, x, sizeof four);
    return Ints{} + four;
  }
#if defined(__AVX512VNNI__)
  static Sums add(Sums s, Ints x, Ints w) {
    return (Sums)_mm512_dpbusd_epi32((__m512i)s, (__m512i)x, (__m512i)w);
  }
#else
  static Sums add(Sums s, Ints x, Ints w) {
    return (Sums)_mm256_dpbusd_avx_epi32((__m256i)s, (__m256i)x, (__m256i)w);
  }
#endif
};
#elif defined(__aarch64__) && defined(__ARM_FEATURE_DOTPROD)
struct Int8 {
  using Input = std::int8_t;
  using Weight = std::int8_t;
  using Sums = Ints;
  static constexpr int kGroup = 4, kZero = 0;
  static int8x16_t weights(const Weight* w) { return vld1q_s8(w); }
  static int8x16_t broadcast(const Input* x) {
    std::int32_t four;
    std::memcpy(&four, x, sizeof four);
    return vreinterpretq_s8_s32(vdupq_n_s32(four));
  }
  static Sums add(Sums s, int8x16_t x, int8x16_t w) { return (Sums)vdotq_s32((int32x4_t)s, w, x); }
};
#elif defined(__aarch64__)
struct Int8 {
  using Input = std::int8_t;
  using Weight = std::int8_t;
  using Sums = Ints;
  static constexpr int kGroup = 2, kZero = 0;
  static int8x8_t weights(const Weight* w) { return vld1_s8(w); }
  static int8x8_t broadcast(const Input* x) {
    std::int16_t two;
    std::memcpy(&two, x, sizeof two);
    return vreinterpret_s8_s16(vdup_n_s16(two));
  }
  static Sums add(Sums s, int8x8_t x, int8x8_t w) {
    return (Sums)vpadalq_s16((int32x4_t)s, vmull_s8(w, x));
  }
};
#else
struct Int8 {  // pairs of 16 bits, which no sum can overflow
  using Input = std::int16_t;
  using Weight = std::int16_t;
  using Sums = Ints;
  static constexpr int kGroup = 2, kZero = 0;
  static Ints weights(const Weight* w) {
    return *reinterpret_cast<const VectorOf<std::int32_t, kLanes>::Anywhere*>(w);
  }
  static Ints broadcast(const Input* x) {
    std::int32_t two;
    std::memcpy(&two, x, sizeof two);
    return Ints{} + two;
  }
#if defined(__AVX2__)
  static Sums add(Sums s, Ints x, Ints w) {
    return s + (Sums)_mm256_madd_epi16((__m256i)x, (__m256i)w);
  }
#else
  static Sums add(Sums s, Ints x, Ints w) {
    return s + (Sums)_mm_madd_epi16((__m128i)x, (__m128i)w);
  }
#endif
};
#endif

// A matrix in panels: `inputs` rows, cut into `sources` equal parts that stand in different places.
template <class P>
struct Matrix {
  const typename P::Weight* panels = nullptr;
  const float* scale = nullptr;           // of int8's columns, as they stand in the panels
  const std::int32_t* surplus = nullptr;  // what int8's sums have too much, since zero is kZero
  std::int64_t groups = 0;                // steps over the rows of one source
  std::int64_t sources = 1;
  std::int64_t panel_size() const { return sources * groups * kColumns * P::kGroup; }
};

// Where the inputs of some streams stand: `stride` from one stream to the next.
template <class P>
struct Inputs {
  const typename P::Input* at[2];
  std::ptrdiff_t stride;
};

// The sums of M streams and N panels from panel `first` on, [M][N * kWide].
template <class P, int M, int N>
inline void multiply(const Matrix<P>& matrix, std::int64_t first, const Inputs<P>& x,
                     std::int64_t stream, typename P::Sums (&sums)[M][N * kWide]) {
  constexpr std::ptrdiff_t vector = kLanes * P::kGroup;
  const std::ptrdiff_t panel = matrix.panel_size();
  const typename P::Weight* w = matrix.panels + first * panel;
  typename P::Sums found[M][N * kWide];
  unrolled<M * N * kWide>([&](auto at) CHARLM_LAMBDA {
    found[at.value / (N * kWide)][at.value % (N * kWide)] = typename P::Sums{};
  });
  for (std::int64_t source = 0; source < matrix.sources; ++source) {
    const typename P::Input* in = x.at[source] + stream * x.stride;
    for (std::int64_t g = 0; g < matrix.groups; ++g, in += P::kGroup, w += kWide * vector) {
      decltype(P::broadcast(in)) xs[M];
      unrolled<M>([&](auto m)
                      CHARLM_LAMBDA { xs[m.value] = P::broadcast(in + m.value * x.stride); });
      unrolled<N * kWide>([&](auto n) CHARLM_LAMBDA {
        const auto row = P::weights(w + (n.value / kWide) * panel + (n.value % kWide) * vector);
        unrolled<M>([&](auto m) CHARLM_LAMBDA {
          found[m.value][n.value] = P::add(found[m.value][n.value], xs[m.value], row);
        });
      });
    }
  }
  std::memcpy(sums, found, sizeof found);
}

// The sum as a number: int8's have the scale of their column.
inline Floats finished(const Matrix<Float32>&, Floats sum, std::int64_t) { return sum; }
inline Floats finished(const Matrix<Int8>& matrix, Ints sum, std::int64_t column) {
  Ints surplus;
  std::memcpy(&surplus, matrix.surplus + column, sizeof surplus);
  return converted(sum - surplus) * load(matrix.scale + column);
}

}  // namespace
