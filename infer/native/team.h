// Phases of a team's work: see `Team`.
#pragma once

#include "model.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif
#include <sched.h>

namespace {

template <class T>
inline T read_now(const T& value) {
  return __atomic_load_n(&value, __ATOMIC_ACQUIRE);
}
template <class T>
inline void write_now(T& value, T now) {
  __atomic_store_n(&value, now, __ATOMIC_RELEASE);
}

// Waits without a system call for much longer than a phase takes, and then gives way to others.
class Patience {
 public:
  bool is_over() const { return turns_ > 4000; }
  void wait() {
    ++turns_;
    if (is_over()) {
      sched_yield();
      return;
    }
#if defined(__x86_64__)
    _mm_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
  }

 private:
  int turns_ = 0;
};

// Does a share of a phase, if no other thread has taken it.
inline void take_share(charlm::Team& team, int share, std::int64_t phase) {
  auto& mine = team.share[share];
  std::int64_t before = phase - 1;
  if (!__atomic_compare_exchange_n(&mine.taken, &before, phase, false, __ATOMIC_ACQ_REL,
                                   __ATOMIC_RELAXED))
    return;
  team.work(team.block, share);
  write_now(mine.done, phase);
}

// The leader's part of a phase: all shares are done when it returns. Where others were kept from
// their work a few times, by processes that want their cores, it goes on alone.
inline void lead(charlm::Team& team) {
  const std::int64_t phase = team.phase + 1;
  write_now(team.phase, phase);
  for (int share = 0; share < team.shares; ++share) take_share(team, share, phase);
  for (int share = 1; share < team.shares; ++share) {
    Patience patience;
    while (read_now(team.share[share].done) < phase) patience.wait();
    team.late += patience.is_over();
  }
  if (team.late > 2) team.shares = 1;
}

}  // namespace
