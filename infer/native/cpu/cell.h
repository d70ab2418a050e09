// The functions of the LSTM's cell, and of sampling, on vectors; to float32's accuracy.
#pragma once

#include "simd.h"

namespace {

// 2^y = 2^n (1 + f q) with the minimax polynomial of 2^f - 1 on |f| <= 1/2: to 1e-7.
struct Power {
  Floats n, f, q;
  Floats value() const { return scaled(fused(f, q, all(1.0f)), n); }
  Floats less_one() const {  // accurate near 0, too
    const Floats power = scaled(all(1.0f), n);
    return fused(power, f * q, power - 1.0f);
  }
};
inline Power power_of_two(Floats y) {
  const Floats n = nearest(y), f = y - n;
  Floats q = all(1.3300605e-3f);
  q = fused(q, f, all(9.6696913e-3f));
  q = fused(q, f, all(5.5505585e-2f));
  q = fused(q, f, all(2.4022283e-1f));
  q = fused(q, f, all(6.9314718e-1f));
  return {n, f, q};
}

constexpr float kLog2E = 1.44269504f;  // exp(x) = 2^(kLog2E x)

// What the cell takes its gates times, so that its exponentials are powers of two.
constexpr float kSigmoidFactor = -kLog2E, kTanhFactor = 2 * kLog2E;

// c = sigmoid(f) c + sigmoid(i) tanh(g), and h = sigmoid(o) tanh(c), with one division each.
//
// A sigmoid of 2^-40 is as good as 0, and three denominators of that size have a product that
// float32 holds.
constexpr float kSaturated = 40.0f;
struct CellState {
  Floats h, c;
};
inline CellState cell(Floats i, Floats o, Floats f, Floats g, Floats c) {
  const Floats input = 1.0f + power_of_two(limited(i, kSaturated)).value();
  const Floats output = 1.0f + power_of_two(limited(o, kSaturated)).value();
  const Floats forget = 1.0f + power_of_two(limited(f, kSaturated)).value();
  const Floats drive = power_of_two(limited(g, kSaturated)).less_one();
  const Floats both = input * (drive + 2.0f);
  c = fused(c, both, drive * forget) / (forget * both);
  const Floats top = power_of_two(limited(c * kTanhFactor, kSaturated)).less_one();
  return {top / (output * (top + 2.0f)), c};
}

}  // namespace
