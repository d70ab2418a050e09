// The instruction sets that this library was compiled for, the fastest first, and whether this
// machine has them.
#pragma once

#include <cstring>

#include "../model.h"

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

namespace charlm {

#if defined(__x86_64__)
extern const InstructionSet instructions_avx512, instructions_avxvnni, instructions_avx2,
    instructions_baseline;
#elif defined(__aarch64__)
extern const InstructionSet instructions_neondot, instructions_neon;
#endif

#if defined(__x86_64__)
// Older compilers have no name for it.
inline bool has_avxvnni() {
  unsigned a, b, c, d;
  return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & 1u << 4);
}
#endif

struct Available {
  const InstructionSet* instructions;
  bool here;
};

// Calls `one` with each instruction set until it says that it has seen enough.
template <class One>
void each_instruction_set(One one) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const Available sets[] = {
      {&instructions_avx512,
       avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512vnni")},
      {&instructions_avxvnni, avx2 && has_avxvnni()},
      {&instructions_avx2, avx2},
      {&instructions_baseline, true},
  };
#elif defined(__aarch64__)
#if defined(__linux__)
  const bool dot = getauxval(AT_HWCAP) & HWCAP_ASIMDDP;
#else
  const bool dot = true;  // of Apple's all that run this
#endif
  const Available sets[] = {{&instructions_neondot, dot}, {&instructions_neon, true}};
#endif
  for (const Available& each : sets)
    if (one(each)) return;
}

// The fastest that runs here, or the one that `wanted` names; null where there is none.
inline const InstructionSet* instruction_set(const char* wanted) {
  const InstructionSet* found = nullptr;
  each_instruction_set([&](const Available& each) {
    if (!each.here || (wanted && std::strcmp(wanted, each.instructions->name) != 0)) return false;
    found = each.instructions;
    return true;
  });
  return found;
}

}  // namespace charlm
