// Runs the kernel that stands above: what `cuLaunchKernel` calls.
#pragma once

#define EMULATED_TEXT(text) #text
#define EMULATED_NAME(name) EMULATED_TEXT(name)

namespace emulated {

constexpr int kBlocks = BLOCKS;  // of a cluster
inline const charlm_gpu::Run* argument;

inline void fiber() {
  KERNEL(*argument);
  cluster->done[cluster->current] = 1;
  --cluster->running[rank()];
  if (std::count(cluster->running.begin(), cluster->running.end(), 0) == kBlocks) {
    for (const auto& sent : cluster->sent) sent();
    setcontext(&cluster->outside);
  }
  switch_to_next();
  std::abort();  // nobody comes back to a thread that is done
}

}  // namespace emulated

extern "C" __attribute__((visibility("default"))) void charlm_emulate(const void* run, int blocks,
                                                                      int threads, int shared) {
  using namespace emulated;
  argument = static_cast<const charlm_gpu::Run*>(run);
  if (const char* path = std::getenv("EMULATED_LAUNCHES")) {
    std::FILE* file = std::fopen(path, "a");
    std::fprintf(file, "%s: %d x %d blocks of %d threads\n", EMULATED_NAME(KERNEL),
                 blocks / kBlocks, kBlocks, threads);
    std::fclose(file);
  }
  if (const char* rate = std::getenv("EMULATED_RATE")) {
    const double characters = static_cast<double>(argument->streams) *
                              (static_cast<double>(argument->time) + argument->steps);
    usleep(static_cast<useconds_t>(1e6 * characters / std::atof(rate)));
    return;
  }
  static Wide launches = 0;  // each has an order of its own
  disorder = std::getenv("EMULATED_DISORDER");
  const bool has_favourite = launches / 2 % 2;
  lots = launches++;
  for (int first = 0; first < blocks; first += kBlocks) {
    Cluster now;
    cluster = &now;
    const int all = kBlocks * threads;
    now.first = first, now.threads = threads, now.running.assign(kBlocks, threads);
    now.came.resize(kBlocks), now.shared.resize(kBlocks);
    for (auto& each : now.shared)  // what nobody has written is no number
      each.assign(static_cast<std::size_t>(shared) / sizeof(uint4), {~0u, ~0u, ~0u, ~0u});
    now.fibers.resize(all), now.stops.resize(all), now.stacks.resize(all);
    now.begun.resize(all), now.done.resize(all), now.times.resize(all);
    now.barriers.resize(all), now.group_barriers.resize(all), now.cluster_barriers.resize(all);
    now.came_of_group.resize(all / 128 + 1);
    now.warps.resize(all / 32), now.copies.resize(all), now.products.resize(all);
    now.waits.assign(all, {&now.came_all, 0});
    for (int thread = 0; thread < all; ++thread) {
      now.stacks[thread].resize(1 << 16);
      getcontext(&now.fibers[thread]);
      now.fibers[thread].uc_stack.ss_sp = now.stacks[thread].data();
      now.fibers[thread].uc_stack.ss_size = now.stacks[thread].size();
      makecontext(&now.fibers[thread], fiber, 0);
    }
    now.current = disorder ? static_cast<int>(lot() % all) : 0;
    favourite = !has_favourite ? -1 : launches % 2 ? 0 : now.current;
    now.begun[now.current] = 1;
    swapcontext(&now.outside, &now.fibers[now.current]);
  }
}
