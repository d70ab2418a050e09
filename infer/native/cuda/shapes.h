// How a model is laid out for the kernel: the shape of its work, and its weights in that order.
#pragma once

#include <cstdint>
#include <vector>

#include "../model.h"
#include "run.h"

namespace charlm_gpu {

// The streams that a block may have.
constexpr int kStreamsOfBlocks[] = {16, 32, 64, 128};

// The shape for blocks of so many streams, or of the next smaller number of which the state has
// room on the chip; where none has, it is in global memory.
Shape shape_of(const charlm::Weights& weights, int parts, int streams, int shared_bytes);

struct Packed {
  std::vector<std::uint16_t> weights;  // fp16
  std::vector<std::uint8_t> table;     // fp16 or float32
  std::vector<float> bias, head_bias;
  float gate_scale, head_scale;
};
Packed packed(const charlm::Weights& weights, const Shape& shape);

}  // namespace charlm_gpu
