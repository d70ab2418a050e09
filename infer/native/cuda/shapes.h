// How a model is laid out for the kernels: the shape of its work, and its weights in that order.
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

// For clusters in which weights stay; of 0 blocks where they can't: of several layers, in float32,
// on another architecture, or without room.
Shape persistent_of(const charlm::Weights& weights, int parts, int architecture, int shared_bytes);

// For a cluster; of 0 blocks where the model has no room on the chip.
Alone alone_of(const charlm::Weights& weights, int parts, int shared_bytes);

struct Packed {
  std::vector<std::uint8_t> weights;  // of a `Shape` fp16, one or two each; else fp16 or float32
  std::vector<std::uint8_t> table;    // fp16 or float32; of an `Alone` always float32
  std::vector<float> bias, head_bias;
  float gate_scale, head_scale;
};
Packed packed(const charlm::Weights& weights, const Shape& shape);
Packed packed(const charlm::Weights& weights, const Alone& shape);

}  // namespace charlm_gpu
