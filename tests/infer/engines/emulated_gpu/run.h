// Runs the kernel that stands above: what `cuLaunchKernel` calls.
#pragma once

namespace emulated {

inline const charlm_gpu::Run* argument;

inline void fiber() {
  charlm_run(*argument);
  block->done[block->current] = 1;
  if (--block->running == 0) {
    setcontext(&block->outside);
  }
  switch_to_next();
  std::abort();  // nobody comes back to a thread that is done
}

}  // namespace emulated

extern "C" __attribute__((visibility("default"))) void charlm_emulate(const void* run, int blocks,
                                                                      int threads, int shared) {
  using namespace emulated;
  argument = static_cast<const charlm_gpu::Run*>(run);
  for (int number = 0; number < blocks; ++number) {
    Block now;
    block = &now;
    now.number = number, now.threads = now.running = threads;
    now.shared.resize(static_cast<std::size_t>(shared) / sizeof(uint4));
    now.fibers.resize(threads), now.stops.resize(threads), now.stacks.resize(threads);
    now.begun.resize(threads), now.done.resize(threads), now.times.resize(threads),
        now.barriers.resize(threads);
    now.warps.resize(threads / 32);
    for (int thread = 0; thread < threads; ++thread) {
      now.stacks[thread].resize(1 << 16);
      getcontext(&now.fibers[thread]);
      now.fibers[thread].uc_stack.ss_sp = now.stacks[thread].data();
      now.fibers[thread].uc_stack.ss_size = now.stacks[thread].size();
      makecontext(&now.fibers[thread], fiber, 0);
    }
    now.begun[0] = 1;
    swapcontext(&now.outside, &now.fibers[0]);
  }
}
