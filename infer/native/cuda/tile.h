// Products of a warp: a tile of 16 streams times weights, by the tensor cores. Numbers are of fp16
// and summed in float32; where PARTS is 2, each is the sum of two, which together are as good as
// float32.
#pragma once

namespace charlm_gpu {

// 16 rows and 32 columns of weights, as the lanes of a warp hold them.
struct Weights {
  uint4 part[PARTS][2];

  CHARLM_DEVICE explicit Weights(const uint4* from) {
#pragma unroll
    for (int each = 0; each < PARTS; ++each)
      part[each][0] = from[each * 64], part[each][1] = from[each * 64 + 32];
  }
};

// 16 streams, and 16 of the numbers that they are multiplied by.
struct Input {
  uint4 part[PARTS];
};

// Sums of a tile of 16 streams and 32 columns; of split numbers the small ones apart, so that
// little is lost by rounding.
struct Sums {
  float large[4][4];
#if PARTS == 2
  float small[4][4];
#endif

  CHARLM_DEVICE void begin(int column, int place, float value) {
    large[column][place] = value;
#if PARTS == 2
    small[column][place] = 0;
#endif
  }
  CHARLM_DEVICE float at(int column, int place, float scale) const {
#if PARTS == 2
    return (large[column][place] + small[column][place]) * scale;
#else
    return large[column][place];
#endif
  }
  CHARLM_DEVICE void add(const Input& a, const Weights& b) {
#if PARTS == 2
    product(small, a.part[0], b.part[1]);
    product(small, a.part[1], b.part[0]);
#endif
    product(large, a.part[0], b.part[0]);
  }
  static CHARLM_DEVICE void product(float (&sums)[4][4], const uint4& a, const uint4 (&b)[2]) {
    multiply_add(sums[0], a, b[0].x, b[0].y);
    multiply_add(sums[1], a, b[0].z, b[0].w);
    multiply_add(sums[2], a, b[1].x, b[1].y);
    multiply_add(sums[3], a, b[1].z, b[1].w);
  }
};

}  // namespace charlm_gpu
