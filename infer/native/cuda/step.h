// What the kernels do in a step once products are summed: cells, random numbers, and the choice of
// a character.
#pragma once

namespace charlm_gpu {

#if VOCABULARY <= 256
using Id = unsigned char;
#else
using Id = int;
#endif

constexpr float kLog2E = 1.44269504f;
constexpr float kGreedy = 0x1p100f, kGreedyUniform = 0x1p-24f;  // see `export/contract_siblings.py`

// ---- The cell. The host takes the weights times what makes each of these one or two instructions.

#if PARTS == 1
CHARLM_DEVICE float sigmoid(float half) { return fmaf(0.5f, rough_tanh(half), 0.5f); }
CHARLM_DEVICE float drive(float x) { return rough_tanh(x); }
CHARLM_DEVICE float squashed(float c) { return rough_tanh(c); }
#else
CHARLM_DEVICE float sigmoid(float exponent) { return inverse(1.0f + power_of_two(exponent)); }
CHARLM_DEVICE float drive(float exponent) {
  return fmaf(-2.0f, inverse(1.0f + power_of_two(exponent)), 1.0f);
}
CHARLM_DEVICE float squashed(float c) { return drive(2 * kLog2E * c); }
#endif

// ---- Random numbers: the words of numpy.random.Philox(key=[seed, stream]), by their positions

struct Uniforms {
  float value[4];

  CHARLM_DEVICE void fill(Wide seed, Wide stream, Wide position) {
    Wide a = position / 4 + 1, b = 0, c = 0, d = 0;
#pragma unroll 1
    for (int turn = 0; turn < 10; ++turn) {
      const Wide first = upper_product(0xD2E7470EE14C6C93, a);
      const Wide second = upper_product(0xCA5A826395121157, c);
      const Wide low = 0xD2E7470EE14C6C93 * a;
      const Wide other = 0xCA5A826395121157 * c;
      a = second ^ b ^ seed, b = other, c = first ^ d ^ stream, d = low;
      seed += 0x9E3779B97F4A7C15, stream += 0xBB67AE8584CAA73B;
    }
    value[0] = uniform(a), value[1] = uniform(b), value[2] = uniform(c), value[3] = uniform(d);
  }
  CHARLM_DEVICE float at(Wide position) const {
    const float low = position & 1 ? value[1] : value[0], high = position & 1 ? value[3] : value[2];
    return position & 2 ? high : low;
  }
  static CHARLM_DEVICE float uniform(Wide word) {
    return (static_cast<float>(static_cast<int>(word >> 41)) + 0.5f) * 0x1p-23f;
  }
};

// ---- What a stream is given to read

// The id in a stream's prompt; 0 outside of it.
CHARLM_DEVICE int id_at(const Run& run, int stream, int at) {
  if (at < 0 || at >= run.time) return 0;
  return static_cast<const Id*>(run.prompt)[static_cast<Wide>(stream) * run.time + at];
}

// ---- A stream's logits, of which each of kLanes lanes has kOwn that follow one another

// Value: gives a reference to the lane's logit, or weight, of its characters by 0, 1, ...
template <int kLanes, int kOwn, int kAtOnce, class Value>
class Choice {
 public:
  CHARLM_DEVICE Choice(const Run& run, int stream, int lane, Value value)
      : run_(run), stream_(stream), lane_(lane), value_(value) {}

  // What a step does with the logits: it scores what is given, draws, or gives them as a result.
  // Returns the character that the stream reads next. Its prompt begins at step `start` and ends at
  // `longest`, the run at `last`; `tells`: whether this warp writes the stream's results.
  CHARLM_DEVICE int use(int step, int start, int longest, int last, bool tells, float uniform) {
    const int at = step - start;
    const int letter = id_at(run_, stream_, at);
    if (step == last && tells) give();
    if (run_.scored && step <= longest) {
      const float score = this->score(letter);
      if (lane_ == 0 && tells && at >= 0 && at < run_.time)
        run_.log_probability[static_cast<Wide>(stream_) * run_.time + at] = score;
    }
    if (step < longest || step == last) return letter;
    const int drawn = draw(uniform);
    if (lane_ == 0 && tells)
      static_cast<Id*>(run_.tokens)[static_cast<Wide>(stream_) * run_.steps + step - longest] =
          static_cast<Id>(drawn);
    return drawn;
  }

 private:
  // The logits as a result.
  CHARLM_DEVICE void give() {
    float* logits = run_.logits + static_cast<Wide>(stream_) * VOCABULARY;
    float rest = 0;
    for_each([&](float value, int id) {
      logits[id] = value;
      rest += value - value;
    });
    if (rest != 0) *run_.not_finite = 1;
  }

  // The logarithm of a character's probability.
  CHARLM_DEVICE float score(int letter) {
    const float top = most();
    float total = 0, mine = 0;
    for_each([&](float value, int id) {
      total += power_of_two((value - top) * kLog2E);
      if (id == letter) mine = value - top;
    });
    return sum(mine) - logarithm_of_two(sum(total)) / kLog2E;
  }

  // The first character whose running sum of weights reaches u of their total.
  CHARLM_DEVICE int draw(float u) {
    const float rate = run_.inverse_temperature[stream_], top = most(), factor = rate * kLog2E;
    float total = 0;
    for_each([&](float& value, int) {
      value = power_of_two((value - top) * factor);
      total += value;
    });
    if (run_.filtered) {
      filter();
      total = 0;
      for_each([&](float value, int) { total += value; });
    }
    const float before = sum_before(total), all = sum(total);
    if (!(all < 3e38f)) *run_.not_finite = 1;
    const float bound = (rate < kGreedy ? u : kGreedyUniform) * all;
    float running = before;
    int found = 0, last = 0;
    for_each([&](float value, int id) {
      running += value;
      found += running < bound;
      if (value > 0) last = id;
    });
    found = sum(found);
#pragma unroll
    for (int mask = 1; mask < kLanes; mask *= 2) last = max(last, across(last, mask));
    return found < last ? found : last;  // rounding may leave the bound above all sums
  }

  // Calls function(value, id) for the characters that this lane has.
  template <class Function>
  CHARLM_DEVICE void for_each(Function function) {
#pragma unroll kAtOnce
    for (int own = 0; own < kOwn; ++own) {
      const int id = lane_ * kOwn + own;
      if (own < VOCABULARY - (kLanes - 1) * kOwn || id < VOCABULARY) function(value_(own), id);
    }
  }
  CHARLM_DEVICE float most() {
    float most = -3e38f;
    for_each([&](float value, int) { most = fmaxf(most, value); });
#pragma unroll
    for (int mask = 1; mask < kLanes; mask *= 2) most = fmaxf(most, across(most, mask));
    return most;
  }
  template <class T>
  CHARLM_DEVICE static T sum(T value) {
#pragma unroll
    for (int mask = 1; mask < kLanes; mask *= 2) value += across(value, mask);
    return value;
  }
  // Of the lanes before this one.
  CHARLM_DEVICE float sum_before(float value) const {
    float before = 0;
#pragma unroll
    for (int mask = 1; mask < kLanes; mask *= 2) {
      const float other = across(value, mask);
      before += lane_ & mask ? other : 0.0f;
      value += other;
    }
    return before;
  }

  // ---- Filters: see `infer/sampling/filters.py`. The heaviest weight is 1.

  CHARLM_DEVICE void filter() {
    keep_heaviest(static_cast<float>(run_.top_k[stream_]), [](float) { return 1.0f; });
    float total = 0;
    for_each([&](float value, int) { total += value; });
    keep_heaviest(run_.top_p[stream_] * sum(total), [](float x) { return x; });
    const float least = run_.min_p[stream_];
    for_each([&](float& value, int) { value = value < least ? 0 : value; });
  }

  // Removes all but the heaviest, the lowest ids of equals, whose measures together reach `enough`.
  template <class Measure>
  CHARLM_DEVICE void keep_heaviest(float enough, Measure measure) {
    const auto together = [&](float least, bool equal) {
      float found = 0;
      for_each([&](float value, int) {
        if (value > least || (equal && value == least)) found += measure(value);
      });
      return sum(found);
    };
    Word least = 0;  // weights that are not negative are ordered as their bits
#pragma unroll 1
    for (Word bit = 1u << 29; bit; bit >>= 1)
      if (together(__uint_as_float(least | bit), true) >= enough) least |= bit;
    const float bound = __uint_as_float(least), lacking = enough - together(bound, false);
    float equals = 0;
    for_each([&](float value, int) { equals += value == bound; });
    float before = sum_before(equals) * measure(bound);
    for_each([&](float& value, int) {
      if (value < bound) value = 0;
      if (value == bound) {
        if (before > 0 && before >= lacking) value = 0;
        before += measure(bound);
      }
    });
  }

  const Run& run_;
  const int stream_, lane_;
  Value value_;
};

}  // namespace charlm_gpu
