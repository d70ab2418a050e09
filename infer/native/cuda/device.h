// What the kernels use of a GPU: one function for each instruction.
#pragma once

#ifndef CHARLM_EMULATED  // the tests have these functions for a CPU

#define CHARLM_DEVICE __device__ __forceinline__

using Word = unsigned int;
using Wide = unsigned long long;

CHARLM_DEVICE int thread_number() { return static_cast<int>(threadIdx.x); }
CHARLM_DEVICE int block_number() { return static_cast<int>(blockIdx.x); }
CHARLM_DEVICE int threads_of_block() { return static_cast<int>(blockDim.x); }

CHARLM_DEVICE uint4* shared_memory() {
  extern __shared__ uint4 charlm_shared[];
  return charlm_shared;
}

CHARLM_DEVICE Word in_shared(const void* place) {
  return static_cast<Word>(__cvta_generic_to_shared(place));
}

// All threads of the block have come here, and see what the others wrote.
CHARLM_DEVICE void meet() { __syncthreads(); }

// The same for the lanes of a warp, and for four warps that multiply together.
CHARLM_DEVICE void meet_warp() { __syncwarp(); }
CHARLM_DEVICE void meet_group() {
  asm volatile("barrier.sync %0, 128;" ::"r"(1 + thread_number() / 128) : "memory");
}

// Of a cluster of blocks: this block's number among them, and the same for all their threads as
// `meet`.
#if __CUDA_ARCH__ >= 900
CHARLM_DEVICE int rank() {
  int found;
  asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(found));
  return found;
}
CHARLM_DEVICE void meet_cluster() {
  asm volatile("barrier.cluster.arrive.release;\n\tbarrier.cluster.wait.acquire;" ::: "memory");
}

// A gate is an mbarrier, in 16 bytes of shared memory; it opens where a phase ends: each time that
// so many threads have come to it, and all bytes that they expect have been sent to it. Who waits
// for its n-th opening, from 0, sees what was sent, and must come before the next one.
// `meet_cluster` comes between `make_gate` and the others.
CHARLM_DEVICE void make_gate(uint4* gate, int threads) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(in_shared(gate)), "r"(threads)
               : "memory");
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}
CHARLM_DEVICE void wait_at(uint4* gate, int opening) {
  Word open = 0;
  while (!open)
    asm volatile(
        "{.reg .pred p; mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2; "
        "selp.u32 %0, 1, 0, p;}"
        : "=r"(open)
        : "r"(in_shared(gate)), "r"(opening & 1)
        : "memory");
}
CHARLM_DEVICE void expect(uint4* gate, int bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(in_shared(gate)),
               "r"(bytes)
               : "memory");
}

// Where something in this block stands in another's.
CHARLM_DEVICE Word in_block(const void* own, int rank) {
  Word found;
  asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(found) : "r"(in_shared(own)), "r"(rank));
  return found;
}
CHARLM_DEVICE void come_to(const uint4* own_gate, int rank) {
  asm volatile("mbarrier.arrive.shared::cluster.b64 _, [%0];" ::"r"(in_block(own_gate, rank))
               : "memory");
}
// Writes to another block's memory, and tells the gate there.
CHARLM_DEVICE void send(const float* own, int rank, float value, const uint4* own_gate) {
  asm volatile(
      "st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.f32 [%0], %1, [%2];" ::"r"(
          in_block(own, rank)),
      "f"(value), "r"(in_block(own_gate, rank))
      : "memory");
}
CHARLM_DEVICE void send(const uint4* own, int rank, const uint4& value, const uint4* own_gate) {
  asm volatile(
      "st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.v4.b32 [%0], {%1, %2, %3, %4}, "
      "[%5];" ::"r"(in_block(own, rank)),
      "r"(value.x), "r"(value.y), "r"(value.z), "r"(value.w), "r"(in_block(own_gate, rank))
      : "memory");
}
#endif

// Among the 32 lanes of a warp.
template <class T>
CHARLM_DEVICE T from_lane(T value, int lane) {
  return __shfl_sync(0xFFFFFFFFu, value, lane);
}
template <class T>
CHARLM_DEVICE T across(T value, int mask) {
  return __shfl_xor_sync(0xFFFFFFFFu, value, mask);
}

// Whether `copy` goes on beside the thread: 16 bytes from global to shared memory, so many places
// on in both, if wanted; neither needs an instruction of its own. They are there once
// `copies_are_there` returns.
#if __CUDA_ARCH__ >= 800
constexpr bool kCopiesBeside = true;
template <int kPlace = 0>
CHARLM_DEVICE void copy(uint4* to, const uint4* from, bool wanted = true) {
  asm volatile(
      "{.reg .pred p; setp.ne.u32 p, %3, 0; @p cp.async.cg.shared.global [%0 + %2], [%1 + %2], "
      "16;}" ::"r"(in_shared(to)),
      "l"(from), "n"(16 * kPlace), "r"(static_cast<Word>(wanted))
      : "memory");
}
CHARLM_DEVICE void copies_are_there() { asm volatile("cp.async.wait_all;" ::: "memory"); }
#else
constexpr bool kCopiesBeside = false;
template <int kPlace>
void copy(uint4* to, const uint4* from, bool wanted);  // there is none
CHARLM_DEVICE void copies_are_there() {}
#endif

// sums [16, 8] += a [16, 16] b [16, 8], of fp16 numbers, summed in float32. A lane holds of each
// what PTX's m16n8k16 says: of `sums` and `a` rows lane / 4 and lane / 4 + 8.
CHARLM_DEVICE void multiply_add(float (&sums)[4], const uint4& a, Word b_low, Word b_high) {
#if __CUDA_ARCH__ >= 800
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
      : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(b_low), "r"(b_high));
#else
  asm("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, "
      "{%0,%1,%2,%3};"
      : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
      : "r"(a.x), "r"(a.y), "r"(b_low));
  asm("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, "
      "{%0,%1,%2,%3};"
      : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
      : "r"(a.z), "r"(a.w), "r"(b_high));
#endif
}

// The same for four warps that come together, each with 16 rows of sums [64, 32] and a [64, 16]; b
// [16, 32] lies in shared memory, 8 rows and then the others: [2, 32, 8]. It goes on beside the
// threads, from `begin_products` on, until `products_are_there`.
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
#define CHARLM_SUMS(sums)                                                                       \
  "+f"(sums[0][0]), "+f"(sums[0][1]), "+f"(sums[0][2]), "+f"(sums[0][3]), "+f"(sums[1][0]),     \
      "+f"(sums[1][1]), "+f"(sums[1][2]), "+f"(sums[1][3]), "+f"(sums[2][0]), "+f"(sums[2][1]), \
      "+f"(sums[2][2]), "+f"(sums[2][3]), "+f"(sums[3][0]), "+f"(sums[3][1]), "+f"(sums[3][2]), \
      "+f"(sums[3][3])
// Where a matrix is; the sum with a number is so many times 16 bytes further on.
CHARLM_DEVICE Wide matrix_at(const uint4* shared) {
  constexpr Wide kRows = 512, kColumns = 128;      // bytes to the other rows, to the next 8 columns
  const Wide place = in_shared(shared) & 0x3FFFF;  // without the block's number
  return place / 16 | kRows / 16 << 16 | kColumns / 16 << 32;
}
CHARLM_DEVICE void begin_products() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
// `adds`: to the sums; else to 0.
CHARLM_DEVICE void multiply_together(float (&sums)[4][4], const uint4& a, Wide b, bool adds) {
  asm volatile(
      "{.reg .pred p; setp.ne.u32 p, %21, 0; wgmma.mma_async.sync.aligned.m64n32k16.f32.f16.f16 "
      "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15}, "
      "{%16, %17, %18, %19}, %20, p, 1, 1, 0;}"
      : CHARLM_SUMS(sums)
      : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "l"(b), "r"(static_cast<Word>(adds)));
}
// Products that began since the last call belong together.
CHARLM_DEVICE void commit_products() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
// All, or all but those that were committed last.
CHARLM_DEVICE void products_are_there(float (&sums)[4][4], bool but_the_last = false) {
  if (but_the_last) {
    asm volatile("wgmma.wait_group.sync.aligned 1;" : CHARLM_SUMS(sums)::"memory");
  } else {
    asm volatile("wgmma.wait_group.sync.aligned 0;" : CHARLM_SUMS(sums)::"memory");
  }
}
// What this thread has written to shared memory, products see.
CHARLM_DEVICE void show_to_products() { asm volatile("fence.proxy.async;" ::: "memory"); }
#endif

// Two fp16 numbers in a word.
CHARLM_DEVICE Word halves(float low, float high) {
  Word both;
#if __CUDA_ARCH__ >= 800
  asm("cvt.rn.f16x2.f32 %0, %2, %1;" : "=r"(both) : "f"(low), "f"(high));
#else
  asm("{.reg .f16 l, h; cvt.rn.f16.f32 l, %1; cvt.rn.f16.f32 h, %2; mov.b32 %0, {l, h};}"
      : "=r"(both)
      : "f"(low), "f"(high));
#endif
  return both;
}
CHARLM_DEVICE float2 floats(Word both) {
  float2 found;
  asm("{.reg .f16 l, h; mov.b32 {l, h}, %2; cvt.f32.f16 %0, l; cvt.f32.f16 %1, h;}"
      : "=f"(found.x), "=f"(found.y)
      : "r"(both));
  return found;
}

// Of the special function unit: 2^x and 1/x to 2 units of the last place, tanh to 2^-11.
CHARLM_DEVICE float power_of_two(float x) {
  float found;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(found) : "f"(x));
  return found;
}
CHARLM_DEVICE float logarithm_of_two(float x) {
  float found;
  asm("lg2.approx.ftz.f32 %0, %1;" : "=f"(found) : "f"(x));
  return found;
}
CHARLM_DEVICE float inverse(float x) {
  float found;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(found) : "f"(x));
  return found;
}
CHARLM_DEVICE float rough_tanh(float x) {
  float found;
  asm("tanh.approx.f32 %0, %1;" : "=f"(found) : "f"(x));
  return found;
}
CHARLM_DEVICE Wide upper_product(Wide a, Wide b) { return __umul64hi(a, b); }

#endif
