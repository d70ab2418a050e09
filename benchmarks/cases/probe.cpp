// What this machine's core can do: multiply and add, read its caches, and draw characters from an
// LSTM of one layer in a plain loop, without any runtime. `artifacts` compiles it for the core and
// the model at hand; the weights are random, and the draw is simpler than charlm's.
#include <cmath>
#include <cstdint>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace {

#if defined(__AVX512F__)
constexpr int kLanes = 16, kPanel = 16;  // of a vector; vectors whose sums stand in registers
#elif defined(__AVX2__)
constexpr int kLanes = 8, kPanel = 8;
#else
constexpr int kLanes = 4, kPanel = 8;
#endif
typedef float Floats __attribute__((vector_size(4 * kLanes)));
typedef std::int32_t Ints __attribute__((vector_size(4 * kLanes)));

constexpr int kStep = kPanel * kLanes;
constexpr int kUnits = (HIDDEN + kLanes - 1) / kLanes * kLanes;
constexpr int kColumns = (4 * kUnits + kStep - 1) / kStep * kStep;
constexpr int kHead = (VOCABULARY + kLanes - 1) / kLanes * kLanes;

alignas(64) float recurrent[HIDDEN * kColumns], table[VOCABULARY * kColumns];
alignas(64) float head[HIDDEN * kHead], logits[kHead], gates[kColumns], h[kUnits], c[kUnits];
constexpr int kRead = 16;  // vectors that are read at once
constexpr long kWeights = (WEIGHTS + kRead * kLanes - 1) / (kRead * kLanes) * kRead * kLanes;
alignas(64) float weights[kWeights];
alignas(64) std::int8_t small[(HIDDEN + 3) / 4 * 4 * kColumns];
std::uint64_t random_state = 88172645463325252;
int token = 0;

float uniform() {
  random_state ^= random_state << 13, random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return static_cast<float>(random_state >> 40) * 0x1p-24f;
}

Floats load(const float* from) { return *reinterpret_cast<const Floats*>(from); }
void store(float* to, Floats v) { *reinterpret_cast<Floats*>(to) = v; }

Floats power_of_two(Floats x) {
  x = x < -126.0f ? Floats{} - 126.0f : x;
  x = x > 126.0f ? Floats{} + 126.0f : x;
  const Floats shifted = x + 12582912.0f, n = shifted - 12582912.0f, f = x - n;
  Floats p = f * 1.3333558e-3f + 9.6181291e-3f;
  p = p * f + 5.5504109e-2f;
  p = p * f + 2.4022651e-1f;
  p = p * f + 6.9314718e-1f;
  p = p * f + 1.0f;
  return p * reinterpret_cast<Floats>((reinterpret_cast<Ints>(shifted) << 23) + 0x3F800000);
}
Floats sigmoid(Floats x) { return 1.0f / (1.0f + power_of_two(x * -1.44269504f)); }
Floats tanh(Floats x) { return 2.0f * sigmoid(x + x) - 1.0f; }

void move_on() {
  for (int at = 0; at < kUnits; at += kLanes) {
    const Floats i = sigmoid(load(gates + at)), o = sigmoid(load(gates + kUnits + at));
    const Floats f = sigmoid(load(gates + 2 * kUnits + at)),
                 g = tanh(load(gates + 3 * kUnits + at));
    const Floats cell = f * load(c + at) + i * g;
    store(c + at, cell);
    store(h + at, o * tanh(cell));
  }
}

void draw() {
  Floats sums[kHead / kLanes] = {};
  for (int row = 0; row < HIDDEN; ++row)
    for (int at = 0; at < kHead / kLanes; ++at)
      sums[at] += h[row] * load(head + row * kHead + at * kLanes);
  float total = 0;
  for (int at = 0; at < kHead / kLanes; ++at)
    store(logits + at * kLanes, power_of_two(sums[at] * 1.44269504f));
  for (int id = 0; id < VOCABULARY; ++id) total += logits[id];
  const float bound = uniform() * total;
  float sum = logits[0];
  for (token = 0; sum < bound && token < VOCABULARY - 1;) sum += logits[++token];
}

void multiply_float32() {
  for (int column = 0; column < kColumns; column += kStep) {
    Floats sums[kPanel];
    for (int at = 0; at < kPanel; ++at)
      sums[at] = load(table + token * kColumns + column + at * kLanes);
    const float* panel = recurrent + column * HIDDEN;
    for (int row = 0; row < HIDDEN; ++row, panel += kStep)
      for (int at = 0; at < kPanel; ++at) sums[at] += h[row] * load(panel + at * kLanes);
    for (int at = 0; at < kPanel; ++at) store(gates + column + at * kLanes, sums[at]);
  }
}

#if defined(__AVX512VNNI__) || defined(__AVXVNNI__)
Ints add_products(Ints sums, Ints x, Ints w) {
#if defined(__AVX512VNNI__)
  return (Ints)_mm512_dpbusd_epi32((__m512i)sums, (__m512i)x, (__m512i)w);
#else
  return (Ints)_mm256_dpbusd_avx_epi32((__m256i)sums, (__m256i)x, (__m256i)w);
#endif
}

void multiply_int8() {
  alignas(64) std::uint8_t rounded[(HIDDEN + 3) / 4 * 4] = {};
  for (int row = 0; row < HIDDEN; ++row)
    rounded[row] = static_cast<std::uint8_t>(std::lrintf(h[row] * 127) + 128);
  for (int column = 0; column < kColumns; column += kStep) {
    Ints sums[kPanel] = {};
    const std::int8_t* panel = small + column * ((HIDDEN + 3) / 4 * 4);
    for (int row = 0; row < HIDDEN; row += 4, panel += 4 * kStep) {
      std::int32_t four;
      std::memcpy(&four, rounded + row, 4);
      for (int at = 0; at < kPanel; ++at)
        sums[at] = add_products(sums[at], Ints{} + four,
                                *reinterpret_cast<const Ints*>(panel + 4 * at * kLanes));
    }
    for (int at = 0; at < kPanel; ++at)
      store(gates + column + at * kLanes,
            __builtin_convertvector(sums[at], Floats) * 1e-5f +
                load(table + token * kColumns + column + at * kLanes));
  }
}
constexpr bool kHasInt8 = true;
#else
void multiply_int8() {}
constexpr bool kHasInt8 = false;
#endif

volatile float sink;  // what is never read may not be left out

}  // namespace

#define PROBE extern "C" __attribute__((visibility("default")))

// Whether this core has products of bytes.
PROBE int probe_has_int8() { return kHasInt8; }

// Random weights.
PROBE void probe_begin() {
  for (float& each : recurrent) each = (uniform() - 0.5f) * 0.14f;
  for (float& each : table) each = (uniform() - 0.5f) * 0.14f;
  for (float& each : head) each = (uniform() - 0.5f) * 0.14f;
  for (float& each : weights) each = uniform();
  for (std::int8_t& each : small) each = static_cast<std::int8_t>((uniform() - 0.5f) * 250);
}

// Draws so many characters.
PROBE void probe_float32(long count) {
  for (long at = 0; at < count; ++at) multiply_float32(), move_on(), draw();
}
PROBE void probe_int8(long count) {
  for (long at = 0; at < count; ++at) multiply_int8(), move_on(), draw();
}

// Multiplies and adds in registers; how many operations a unit of `count` has.
PROBE double probe_multiply(long count) {
  constexpr int chains = 24, turns = 1000;
  Floats sums[chains];
  for (Floats& sum : sums) sum = Floats{} + uniform();  // alike, they would be done once
  const Floats x = Floats{} + 0.9999f, y = Floats{} + 1e-4f;
  for (long at = 0; at < count * turns; ++at)
#pragma GCC unroll 24
    for (Floats& sum : sums) sum = sum * x + y;
  for (Floats sum : sums) sink = sum[0];
  return 2.0 * chains * kLanes * turns;
}

// Reads as many numbers as a character's products have weights, once for each of `count`: from the
// beginning each time, or back and forth, so that what was read last is still in a small cache.
PROBE void probe_read(long count, int back) {
  Floats sums[kRead] = {};
  for (long at = 0; at < count; ++at)
    for (long done = 0; done < kWeights; done += kRead * kLanes) {
      const float* from = weights + (back && at % 2 ? kWeights - kRead * kLanes - done : done);
#pragma GCC unroll 16
      for (int each = 0; each < kRead; ++each) sums[each] += load(from + each * kLanes);
    }
  for (Floats sum : sums) sink = sum[0];
}
