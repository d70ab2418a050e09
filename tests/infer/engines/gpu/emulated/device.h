// `infer/native/cuda/device.h` on a CPU: each thread of a block or a cluster is a fiber, and where
// the threads of a warp, a block or a cluster do something together, each waits until all have
// come. They come in the order of their numbers, and what they copy or send is there at once. In
// disorder, half of it comes as late as it may, and who goes on is drawn by lot, or it is always
// one of the first from some thread on, so that others are far behind: what depends on it is a
// race.
#pragma once

#undef _FORTIFY_SOURCE  // which knows of no jump to another stack
#include <setjmp.h>
#include <ucontext.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <vector>

#define CHARLM_EMULATED
#define CHARLM_DEVICE inline
#define __global__ __attribute__((visibility("default")))
#define __grid_constant__
#define __launch_bounds__(...)
#define __cluster_dims__(...)

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
struct Wait {
  const long* counter;
  long needed;  // until the thread goes on
};

// One that goes on beside a thread.
struct Product {
  float (*sums)[4];
  uint4 a;
  const uint4* b;
  bool adds;
};

struct Gate {
  long opened, threads, lacking, bytes;
  void come(int its, long expected) {
    lacking -= its, bytes += expected;
    if (!lacking && !bytes) ++opened, lacking = threads;
  }
};

struct Products {
  std::vector<Product> begun;
  std::vector<std::vector<Product>> committed;
};

// What a thread has written and others need not see yet.
struct Write {
  void* to;
  char value[sizeof(uint4)];
  std::size_t size;

  template <class T>
  Write(T* place, const T& number) : to(place), size(sizeof number) {
    std::memcpy(value, &number, size);
  }
  void operator()() const { std::memcpy(to, value, size); }
};
struct Sent {
  Write write;
  int rank;
  Gate* gate;

  void operator()() const;
};

// Blocks that run at the same time: one, or those of a cluster. Threads are numbered through.
struct Cluster {
  int first = 0, threads = 0, current = 0;  // threads of a block
  std::vector<int> running;                 // threads of each block
  std::vector<long> came, came_of_group;    // of each block, of four warps to their barrier
  long came_all = 0;                        // to the cluster's
  std::vector<ucontext_t> fibers;           // how each begins
  std::vector<Stop> stops;                  // where it goes on
  std::vector<Wait> waits;
  std::vector<std::vector<char>> stacks;
  std::vector<char> begun, done;
  std::vector<long> times, barriers, group_barriers, cluster_barriers;  // that a thread has come
  std::vector<Warp> warps;
  std::vector<std::vector<Write>> copies;  // that each thread has sent for, and are not there
  std::vector<Sent> sent;                  // to blocks, and has not come there
  std::map<const uint4*, Gate> gates;      // by their places
  std::vector<std::vector<uint4>> shared;  // of each block
  std::vector<Products> products;          // of each thread
  ucontext_t outside;
};
inline Cluster* cluster;

inline bool disorder;
inline int favourite;  // in disorder; -1: there is none
inline Wide lots;
inline Word lot() {
  lots = lots * 6364136223846793005u + 1442695040888963407u;
  return static_cast<Word>(lots >> 40);
}

inline void check_running(int rank) {
  if (cluster->running[rank]) return;
  std::fprintf(stderr, "a block is written to that is gone\n");
  std::abort();
}
inline void Sent::operator()() const {
  check_running(rank);
  write();
  gate->come(0, -static_cast<long>(write.size));
}

// Does it now, or in disorder perhaps later.
template <class Done>
void now_or_later(std::vector<Done>& later, const Done& done) {
  if (disorder && lot() % 2) {
    later.push_back(done);
  } else {
    done();
  }
}

inline bool can_go_on(int thread) {
  const Wait& wait = cluster->waits[thread];
  return !cluster->done[thread] && *wait.counter >= wait.needed;
}
// What is sent late comes where nobody can go on without it, in any order.
inline void switch_to_next() {
  const int before = cluster->current, all = static_cast<int>(cluster->fibers.size());
  int next = disorder ? favourite : before + 1;
  if (next < 0) next = static_cast<int>(lot());
  next %= all;
  for (;;) {
    for (int passed = 0; passed < all && !can_go_on(next); ++passed) next = (next + 1) % all;
    auto& sent = cluster->sent;
    if (can_go_on(next)) break;
    if (sent.empty()) {
      std::fprintf(stderr, "a thread waits for others that never come\n");
      std::abort();
    }
    std::swap(sent[lot() % sent.size()], sent.back());
    sent.back()();
    sent.pop_back();
  }
  if (next == before) return;
  cluster->current = next;
  if (_setjmp(cluster->stops[before].place)) return;  // which, unlike swapcontext, calls no system
  if (cluster->begun[next]) _longjmp(cluster->stops[next].place, 1);
  cluster->begun[next] = 1;
  setcontext(&cluster->fibers[next]);
}
inline void wait_for(const long& counter, long needed) {
  cluster->waits[cluster->current] = {&counter, needed};
  if (counter < needed || (disorder && lot() % 2)) switch_to_next();
}

// What all lanes of the warp have brought, once they have.
template <int count>
const Word (&together(const Word (&mine)[count]))[32][6] {
  const int thread = cluster->current;
  Warp& warp = cluster->warps[thread / 32];
  auto& brought = warp.brought[cluster->times[thread] % 2];
  std::copy(mine, mine + count, brought[thread % 32]);
  const long needed = ++cluster->times[thread] * 32;
  ++warp.came;
  wait_for(warp.came, needed);
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

inline int thread_number() { return emulated::cluster->current % emulated::cluster->threads; }
inline int rank() { return emulated::cluster->current / emulated::cluster->threads; }
inline int block_number() { return emulated::cluster->first + rank(); }
inline uint4* shared_memory() { return emulated::cluster->shared[rank()].data(); }
inline int threads_of_block() { return emulated::cluster->threads; }

template <class T>
T* in_block(T* own, int rank) {
  emulated::check_running(rank);
  const auto place = reinterpret_cast<char*>(own) - reinterpret_cast<char*>(shared_memory());
  return reinterpret_cast<T*>(reinterpret_cast<char*>(emulated::cluster->shared[rank].data()) +
                              place);
}

namespace emulated {

inline void meet_at(long& came, std::vector<long>& barriers, std::size_t threads) {
  const long needed = ++barriers[cluster->current] * static_cast<long>(threads);
  ++came;
  wait_for(came, needed);
}

}  // namespace emulated

inline void meet_warp() { emulated::together({0}); }
inline void meet_group() {
  auto& now = *emulated::cluster;
  emulated::meet_at(now.came_of_group[now.current / 128], now.group_barriers, 128);
}
inline void meet() {
  auto& now = *emulated::cluster;
  emulated::meet_at(now.came[rank()], now.barriers, now.threads);
}
inline void meet_cluster() {
  auto& now = *emulated::cluster;
  emulated::meet_at(now.came_all, now.cluster_barriers, now.fibers.size());
}

inline void make_gate(uint4* gate, int threads) {
  emulated::cluster->gates[gate] = {0, threads, threads, 0};
}
inline void wait_at(uint4* gate, int opening) {
  emulated::wait_for(emulated::cluster->gates.at(gate).opened, opening + 1);
}
inline void expect(uint4* gate, int bytes) { emulated::cluster->gates.at(gate).come(1, bytes); }
inline void come_to(uint4* own_gate, int rank) {
  emulated::cluster->gates.at(in_block(own_gate, rank)).come(1, 0);
}
template <class T>
void send(T* own, int rank, const T& value, uint4* own_gate) {
  auto& gate = emulated::cluster->gates.at(in_block(own_gate, rank));
  emulated::now_or_later(emulated::cluster->sent, {{in_block(own, rank), value}, rank, &gate});
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

constexpr bool kCopiesBeside = true;
template <int kPlace = 0>
void copy(uint4* to, const uint4* from, bool wanted = true) {
  if (!wanted) return;
  auto& copies = emulated::cluster->copies[emulated::cluster->current];
  emulated::now_or_later(copies, {to + kPlace, from[kPlace]});
}
inline void copies_are_there() {
  auto& copies = emulated::cluster->copies[emulated::cluster->current];
  for (const auto& copy : copies) copy();
  copies.clear();
}

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

// They are made as late as they may be.
inline emulated::Products& products() {
  return emulated::cluster->products[emulated::cluster->current];
}
inline Wide matrix_at(const uint4* shared) { return reinterpret_cast<std::uintptr_t>(shared) / 16; }
inline void begin_products() { meet_warp(); }
inline void multiply_together(float (&sums)[4][4], const uint4& a, Wide b, bool adds) {
  products().begun.push_back({sums, a, reinterpret_cast<const uint4*>(b * 16), adds});
}
inline void commit_products() {
  products().committed.push_back(products().begun);
  products().begun.clear();
}
inline void multiply(const emulated::Product& product) {
  const auto& [sums, a, b, adds] = product;
  const auto& brought = emulated::together({a.x, a.y, a.z, a.w});
  const int lane = thread_number() % 32;
  for (int column = 0; column < 4; ++column)
    for (int place = 0; place < 4; ++place) {
      if (!adds) sums[column][place] = 0;
      for (int k = 0; k < 16; ++k) {
        const int row = k / 8 * 32 + column * 8 + lane % 4 * 2 + place % 2;
        const Word left = brought[lane / 4 * 4 + k % 8 / 2][k / 8 * 2 + place / 2];
        const auto* right = reinterpret_cast<const unsigned short*>(b + row) + k % 8;
        sums[column][place] +=
            emulated::half_to_float(left >> k % 2 * 16) * emulated::half_to_float(*right);
      }
    }
}
inline void products_are_there(float (&)[4][4], bool but_the_last = false) {
  auto& committed = products().committed;
  for (; committed.size() > but_the_last; committed.erase(committed.begin()))
    for (const auto& product : committed.front()) multiply(product);
}
inline void show_to_products() {}

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
