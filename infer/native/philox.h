// Philox-4x64-10: the words of `numpy.random.Philox(key=[seed, stream])` by their positions.
// Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3" (2011).
#pragma once

#include <cstdint>

namespace {

class Philox {
 public:
  void begin(std::uint64_t seed, std::uint64_t stream, std::uint64_t position) {
    seed_ = seed, stream_ = stream, position_ = position;
    if (position % 4 != 0) fill();
  }

  // u of the next position: exact in float32, and inside (0, 1).
  float next() {
    if (position_ % 4 == 0) fill();
    const std::uint64_t word = words_[position_++ % 4];
    return (static_cast<float>(word >> 41) + 0.5f) * 0x1p-23f;
  }

 private:
  // NumPy counts up before it draws, so that its first block has counter 1.
  void fill() {
    std::uint64_t a = position_ / 4 + 1, b = 0, c = 0, d = 0, key = seed_, other = stream_;
    for (int round = 0; round < 10; ++round) {
      const unsigned __int128 first = static_cast<unsigned __int128>(0xD2E7470EE14C6C93) * a;
      const unsigned __int128 second = static_cast<unsigned __int128>(0xCA5A826395121157) * c;
      a = static_cast<std::uint64_t>(second >> 64) ^ b ^ key;
      c = static_cast<std::uint64_t>(first >> 64) ^ d ^ other;
      b = static_cast<std::uint64_t>(second);
      d = static_cast<std::uint64_t>(first);
      key += 0x9E3779B97F4A7C15;
      other += 0xBB67AE8584CAA73B;
    }
    words_[0] = a, words_[1] = b, words_[2] = c, words_[3] = d;
  }

  std::uint64_t seed_, stream_, position_, words_[4];
};

}  // namespace
