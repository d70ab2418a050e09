#include "filters.h"

#include <algorithm>
#include <cstring>
#include <functional>

namespace charlm {
namespace {

// Weights that are not negative are ordered as their bits; of equals the lowest id comes first.
std::uint64_t key_of(float weight, std::int64_t id) {
  std::uint32_t bits;
  std::memcpy(&bits, &weight, sizeof bits);
  return std::uint64_t{bits} << 32 | (0xFFFFFFFFu - static_cast<std::uint32_t>(id));
}

float weight_of(std::uint64_t key) {
  const auto bits = static_cast<std::uint32_t>(key >> 32);
  float weight;
  std::memcpy(&weight, &bits, sizeof weight);
  return weight;
}

}  // namespace

void remove_filtered(float* weights, std::int64_t vocabulary, std::int64_t top_k, float top_p,
                     float min_p, std::uint64_t* keys) noexcept {
  const bool by_sum = top_p < 1.0f, by_rank = top_k < vocabulary;
  float total = 0, least = 0;
  if (!by_rank) {
    for (std::int64_t id = 0; id < vocabulary; ++id) total += weights[id];
    // All that are lighter than this share of what may be left out don't fill it together.
    const float light = 0.999f * (1.0f - top_p) * total / static_cast<float>(vocabulary);
    least = by_sum ? std::max(min_p, light) : min_p;
  }
  std::int64_t count = 0;
  for (std::int64_t id = 0; id < vocabulary; ++id) {
    keys[count] = key_of(weights[id], id);
    count += weights[id] >= least;
  }
  if (count == 0) return;  // no weight at all
  if (by_rank) {
    std::nth_element(keys, keys + top_k - 1, keys + count, std::greater<>());
    count = top_k;
  }
  if (by_sum) {
    std::sort(keys, keys + count, std::greater<>());
    for (std::int64_t rank = 0; by_rank && rank < count; ++rank) total += weight_of(keys[rank]);
    float reached = weight_of(keys[0]);
    std::int64_t kept = 1;
    while (kept < count && reached < top_p * total) reached += weight_of(keys[kept++]);
    count = kept;
  }
  const std::uint64_t last = by_sum || by_rank ? keys[count - 1] : 0;  // of those that stay
  for (std::int64_t id = 0; id < vocabulary; ++id) {
    if (weights[id] < min_p || key_of(weights[id], id) < last) weights[id] = 0;
  }
}

}  // namespace charlm
