// `infer/native/cuda/device.h` on a CPU: each of a block's threads is a fiber, and where the
// threads of a warp or a block do something together, each waits until all have come.
#pragma once

#undef _FORTIFY_SOURCE  // which knows of no jump to another stack
#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#define CHARLM_EMULATED
#define CHARLM_DEVICE inline
#define __global__ __attribute__((visibility("default")))
#define __grid_constant__
#define __launch_bounds__(...)

using Word = unsigned int;
using Wide = unsigned long long;
struct float2 {
  float x, y;
};
struct uint2 {
  Word x, y;
};
struct float4 {
  float x, y, z, w;
};
struct uint4 {
  Word x, y, z, w;
};
using std::max;

namespace emulated {

struct Warp {
  long came = 0;           // how often a lane has come to something that is done together
  Word brought[2][32][6];  // by each lane, for this time and for the next
};

struct Stop {
  jmp_buf place;
};

struct Block {
  int number = 0, threads = 0, current = 0, running = 0;
  long came = 0;
  std::vector<ucontext_t> fibers;  // how each begins
  std::vector<Stop> stops;         // where it goes on
  std::vector<std::vector<char>> stacks;
  std::vector<char> begun, done;
  std::vector<long> times, barriers;  // that each thread has come
  std::vector<Warp> warps;
  std::vector<uint4> shared;
  ucontext_t outside;
};
inline Block* block;

inline void switch_to_next() {
  const int before = block->current;
  int next = before;
  do next = (next + 1) % block->threads;
  while (block->done[next] && next != before);
  if (next == before) return;
  block->current = next;
  if (_setjmp(block->stops[before].place)) return;  // which, unlike swapcontext, calls no system
  if (block->begun[next]) _longjmp(block->stops[next].place, 1);
  block->begun[next] = 1;
  setcontext(&block->fibers[next]);
}

template <class Ready>
void wait_until(Ready ready) {
  for (long turns = 0; !ready(); ++turns) {
    if (turns > 10'000'000) {
      std::fprintf(stderr, "a thread waits for others that never come\n");
      std::abort();
    }
    switch_to_next();
  }
}

// What all lanes of the warp have brought, once they have.
template <int count>
const Word (&together(const Word (&mine)[count]))[32][6] {
  const int thread = block->current;
  Warp& warp = block->warps[thread / 32];
  auto& brought = warp.brought[block->times[thread] % 2];
  std::copy(mine, mine + count, brought[thread % 32]);
  const long needed = ++block->times[thread] * 32;
  ++warp.came;
  wait_until([&] { return warp.came >= needed; });
  return brought;
}

inline float half_to_float(Word half) {
  const auto bits = static_cast<unsigned short>(half);
  _Float16 value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
inline Word float_to_half(float value) {
  const auto half = static_cast<_Float16>(value);
  unsigned short bits;
  std::memcpy(&bits, &half, sizeof bits);
  return bits;
}

}  // namespace emulated

inline int thread_number() { return emulated::block->current; }
inline int block_number() { return emulated::block->number; }
inline uint4* shared_memory() { return emulated::block->shared.data(); }

inline void meet() {
  using emulated::block;
  const long needed = ++block->barriers[block->current] * block->threads;
  ++block->came;
  emulated::wait_until([&] { return block->came >= needed; });
}

template <class T>
T from_lane(T value, int lane) {
  static_assert(sizeof(T) == sizeof(Word));
  Word word;
  std::memcpy(&word, &value, sizeof word);
  const auto& brought = emulated::together({word});
  std::memcpy(&value, brought[lane], sizeof word);
  return value;
}
template <class T>
T across(T value, int mask) {
  return from_lane(value, thread_number() % 32 ^ mask);
}

inline void copy(uint4* to, const uint4* from) { *to = *from; }
inline void copies_are_there() {}

inline void multiply_add(float (&sums)[4], const uint4& a, Word b_low, Word b_high) {
  const auto& brought = emulated::together({a.x, a.y, a.z, a.w, b_low, b_high});
  const int lane = thread_number() % 32;
  for (int place = 0; place < 4; ++place) {
    const int row = lane / 4, column = lane % 4 * 2 + place % 2;
    for (int k = 0; k < 16; ++k) {
      const int shift = k % 2 * 16, pair = k % 8 / 2;
      const Word left = brought[row * 4 + pair][k / 8 * 2 + place / 2] >> shift;
      const Word right = brought[column * 4 + pair][4 + k / 8] >> shift;
      sums[place] += emulated::half_to_float(left) * emulated::half_to_float(right);
    }
  }
}

inline Word halves(float low, float high) {
  return emulated::float_to_half(low) | emulated::float_to_half(high) << 16;
}
inline float2 floats(Word both) {
  return {emulated::half_to_float(both), emulated::half_to_float(both >> 16)};
}
inline float power_of_two(float x) { return std::exp2(x); }
inline float logarithm_of_two(float x) { return std::log2(x); }
inline float inverse(float x) { return 1 / x; }
inline float rough_tanh(float x) { return std::tanh(x); }
inline Wide upper_product(Wide a, Wide b) {
  return static_cast<Wide>(static_cast<unsigned __int128>(a) * b >> 64);
}
inline float __uint_as_float(Word bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
