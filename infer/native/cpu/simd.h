// The vectors of the instruction set that is compiled for, in the compilers' vector extensions, and
// its products of small integers, for which those have no word.
#pragma once

#include <cstdint>
#include <cstring>
#include <utility>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#define CHARLM_INLINE inline __attribute__((always_inline))
#define CHARLM_LAMBDA __attribute__((always_inline))

namespace {

#if defined(__AVX512F__)
constexpr int kLanes = 16, kRegisters = 32;
#elif defined(__AVX2__)
constexpr int kLanes = 8, kRegisters = 16;
#elif defined(__aarch64__)
constexpr int kLanes = 4, kRegisters = 32;
#else
constexpr int kLanes = 4, kRegisters = 16;
#endif

template <int N>
struct Number {
  static constexpr int value = N;
};

template <class Each, int... At>
CHARLM_INLINE void unrolled(Each each, std::integer_sequence<int, At...>) {
  (each(Number<At>()), ...);
}

// A loop over 0 to N - 1 that no compiler leaves a loop: arrays in it can live in registers.
template <int N, class Each>
CHARLM_INLINE void unrolled(Each each) {
  unrolled(each, std::make_integer_sequence<int, N>());
}

template <class T, int N>
struct VectorOf {
  typedef T Aligned __attribute__((vector_size(N * sizeof(T))));
  typedef T Anywhere __attribute__((vector_size(N * sizeof(T)), aligned(sizeof(T))));
};
using Floats = VectorOf<float, kLanes>::Aligned;
using Ints = VectorOf<std::int32_t, kLanes>::Aligned;

inline Floats load(const float* from) {
  return *reinterpret_cast<const VectorOf<float, kLanes>::Anywhere*>(from);
}
inline void store(float* to, Floats v) {
  *reinterpret_cast<VectorOf<float, kLanes>::Anywhere*>(to) = v;
}
inline Floats all(float x) { return x - Floats{}; }  // which compilers know to be x

// What the vector extensions have no word for. A sum of a product is `fused` where it is meant to
// be, and nowhere else (-ffp-contract=off): so the same numbers come out wherever code is inlined.
#if defined(__AVX512F__)
inline Floats larger(Floats a, Floats b) { return (Floats)_mm512_max_ps((__m512)a, (__m512)b); }
inline Floats smaller(Floats a, Floats b) { return (Floats)_mm512_min_ps((__m512)a, (__m512)b); }
inline Floats fused(Floats a, Floats b, Floats c) {
  return (Floats)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
}
#elif defined(__AVX2__)
inline Floats larger(Floats a, Floats b) { return (Floats)_mm256_max_ps((__m256)a, (__m256)b); }
inline Floats smaller(Floats a, Floats b) { return (Floats)_mm256_min_ps((__m256)a, (__m256)b); }
inline Floats fused(Floats a, Floats b, Floats c) {
  return (Floats)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
}
#elif defined(__aarch64__)
inline Floats larger(Floats a, Floats b) {
  return (Floats)vmaxq_f32((float32x4_t)a, (float32x4_t)b);
}
inline Floats smaller(Floats a, Floats b) {
  return (Floats)vminq_f32((float32x4_t)a, (float32x4_t)b);
}
inline Floats fused(Floats a, Floats b, Floats c) {
  return (Floats)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
}
#else
inline Floats larger(Floats a, Floats b) { return (Floats)_mm_max_ps((__m128)a, (__m128)b); }
inline Floats smaller(Floats a, Floats b) { return (Floats)_mm_min_ps((__m128)a, (__m128)b); }
inline Floats fused(Floats a, Floats b, Floats c) { return a * b + c; }
#endif
inline Ints bits(Floats v) { return reinterpret_cast<Ints>(v); }
inline Floats as_floats(Ints v) { return reinterpret_cast<Floats>(v); }
inline Floats converted(Ints v) { return __builtin_convertvector(v, Floats); }

// Folds the lanes of a vector by `combine`, halves over halves.
template <class T, int N, class Combine>
inline T fold(typename VectorOf<T, N>::Aligned v, Combine combine) {
  if constexpr (N == 2) {
    return combine(v[0], v[1]);
  } else {
    typename VectorOf<T, N / 2>::Aligned low, high;
    std::memcpy(&low, &v, sizeof low);
    std::memcpy(&high, reinterpret_cast<const char*>(&v) + sizeof low, sizeof high);
    return fold<T, N / 2>(combine(low, high), combine);
  }
}
inline float largest(Floats v) {
  return fold<float, kLanes>(v, [](auto a, auto b) { return a > b ? a : b; });
}
inline float sum(Floats v) {
  return fold<float, kLanes>(v, [](auto a, auto b) { return a + b; });
}
inline std::int32_t sum(Ints v) {
  return fold<std::int32_t, kLanes>(v, [](auto a, auto b) { return a + b; });
}

// Lanes of two vectors: `At(lane)` counts through the first, and on through the second.
#if defined(__clang__)
template <int... At>
inline Floats shuffled(Floats a, Floats b) {
  return __builtin_shufflevector(a, b, At...);
}
#else
template <int... At>
inline Floats shuffled(Floats a, Floats b) {
  return __builtin_shuffle(a, b, Ints{At...});
}
#endif

template <int Step, int... Lane>
inline void exchange(Floats& a, Floats& b, std::integer_sequence<int, Lane...>) {
  const Floats low = shuffled<(Lane & Step ? kLanes + Lane - Step : Lane)...>(a, b);
  b = shuffled<(Lane & Step ? kLanes + Lane : Lane + Step)...>(a, b);
  a = low;
}

// A square of rows becomes its columns.
template <int Step = 1>
inline void transpose(Floats (&rows)[kLanes]) {
  unrolled<kLanes>([&](auto row) {
    constexpr int at = decltype(row)::value;
    if constexpr (!(at & Step))
      exchange<Step>(rows[at], rows[at + Step], std::make_integer_sequence<int, kLanes>());
  });
  if constexpr (2 * Step < kLanes) transpose<2 * Step>(rows);
}

// To the nearest integer, ties to even, |x| < 2^22: the sum with 1.5 * 2^23 has it in its last
// bits.
constexpr float kMagic = 12582912.0f;
constexpr std::int32_t kMagicBits = 0x4B400000;

// To a whole number; y * 2^n for a whole n; and what no power of two needs to be above or, where
// exponents are made by hand, below.
#if defined(__AVX512F__)
inline Floats nearest(Floats x) { return (Floats)_mm512_roundscale_ps((__m512)x, 0); }
inline Floats scaled(Floats y, Floats n) { return (Floats)_mm512_scalef_ps((__m512)y, (__m512)n); }
inline Floats limited(Floats y, float most) { return smaller(y, all(most)); }
#else
inline Floats nearest(Floats x) { return (x + kMagic) - kMagic; }
inline Floats scaled(Floats y, Floats n) {
  return y * as_floats((bits(n + kMagic) << 23) + 0x3F800000);
}
inline Floats limited(Floats y, float most) { return smaller(larger(y, all(-126.0f)), all(most)); }
#endif

}  // namespace
