// A model on an NVIDIA GPU.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "../model.h"

namespace charlm_gpu {

class Gpu;  // packed weights on the device, and the kernels for them

// Puts a model's weights on the first device; null, and the reason, where that can't be done.
//
// nvrtc: where NVIDIA's compiler may stand, paths with colons between them.
std::shared_ptr<Gpu> opened(const charlm::Weights& weights, charlm::Precision precision,
                            const std::string& nvrtc, std::string& problem) noexcept;

// All of a call, which has been checked; what went wrong, or nothing. Others may run beside it. Its
// outputs are in the host's memory or the device's.
std::string run(Gpu& gpu, const charlm::Call& call, bool outputs_on_device) noexcept;

// Memory of the host that the device reads and writes at its full rate; null where there is none.
void* pinned(std::size_t size) noexcept;

// Gives such memory back.
void unpin(void* memory) noexcept;

// Of the first device, whose name is written to `said`; 0, and the reason, where there is none.
int processors(char* said, std::size_t size) noexcept;

}  // namespace charlm_gpu
