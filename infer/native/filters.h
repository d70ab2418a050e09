// Filters of sampling, as `infer/sampling/filters.py` defines them; apart from the code of the
// instruction sets.
#pragma once

#include <cstdint>

namespace charlm {

// Sets to 0 what filters remove from weights, of which the largest is 1; `keys` has room for all.
void remove_filtered(float* weights, std::int64_t vocabulary, std::int64_t top_k, float top_p,
                     float min_p, std::uint64_t* keys) noexcept;

}  // namespace charlm
