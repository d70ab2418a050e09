// What the operator and the code of each instruction set agree on: weights, a call, and how it
// ends.
#pragma once

#include <cstdint>

namespace charlm {

// The weights of a model as `export/weights.py` lays them out: float32, gates in the order i, o, f,
// c.
struct Weights {
  std::int64_t vocabulary, hidden, layers;
  const float* table;       // [vocabulary, 4 * hidden], of the first layer, its bias within
  const float* recurrent;   // [hidden, 4 * hidden], of the first layer
  const float* upper;       // [layers - 1, 2 * hidden, 4 * hidden], input over recurrent weights
  const float* upper_bias;  // [layers - 1, 4 * hidden]
  const float* head;        // [hidden, vocabulary]
  const float* head_bias;   // [vocabulary]
};

enum class Precision { float32, int8, fp16 };  // fp16 on a GPU only

// One run for `streams` streams: each reads its prompt, and then draws `steps` characters.
// The tensors are those of `export/contract/__init__.py`, kind `native`; all have been checked.
struct Call {
  std::int64_t streams, time, steps;
  bool scored;
  const float *h, *c;                                // [streams, layers, hidden]
  int id_bytes;                                      // of ids: 1, unsigned, or 4
  const void* prompt;                                // ids [streams, time]
  const std::int64_t* lengths;                       // [streams], at most `time`
  const std::uint64_t *seed, *stream, *position;     // [streams]
  const float *inverse_temperature, *top_p, *min_p;  // [streams]
  const std::int64_t* top_k;                         // [streams]
  void* tokens;                                      // ids [streams, steps]
  float* log_probability;                            // [streams, time] where `scored`
  float* log_probabilities;                          // [streams, time, vocabulary], or null
  float* logits;                                     // [streams, vocabulary]
  float *h_next, *c_next;                            // [streams, layers, hidden]

  std::int32_t prompt_at(std::int64_t place) const {
    return id_bytes == 1 ? static_cast<const std::uint8_t*>(prompt)[place]
                         : static_cast<const std::int32_t*>(prompt)[place];
  }
  void give(std::int64_t place, std::int32_t token) const {
    if (id_bytes == 1) {
      static_cast<std::uint8_t*>(tokens)[place] = static_cast<std::uint8_t>(token);
    } else {
      static_cast<std::int32_t*>(tokens)[place] = token;
    }
  }
};

enum class Outcome { done, no_memory, not_finite };

struct Model;  // weights packed for one instruction set

// Threads that share the weights of one stream, each its panels of every step.
//
// One leads: it does what is not shared, and announces phases. Each of the others takes its share
// of a phase when it comes to it; a share that its thread is late for is taken by the leader, so
// that nothing waits for a thread that has not begun. Where nothing is shared, `shares` is 1.
struct Team {
  static constexpr int kMost = 16;
  int shares = 1;          // the leader's to change
  int late = 0;            // phases that waited for a thread for long
  std::int64_t phase = 0;  // that was announced last; -1: the work is over
  void* block = nullptr;   // what the leader works on, and how a share of it is done
  void (*work)(void* block, int share) = nullptr;
  struct alignas(64) Share {
    std::int64_t taken = 0, done = 0;  // the last phase
  } share[kMost];
};

// Streams that pass together through the weights; a run is cut into blocks of at most so many.
constexpr std::int64_t kBlock =
    48;  // many enough that reading the weights costs little beside them

struct InstructionSet {
  const char* name;
  // Null where memory is short.
  Model* (*pack)(const Weights&, Precision) noexcept;
  void (*release)(Model*) noexcept;
  // Works on the streams from `first` on, at most kBlock of them; others may run beside it. With a
  // team of several shares, which is for one stream, this thread leads it.
  Outcome (*run)(const Model&, const Call&, std::int64_t first, std::int64_t count,
                 Team& team) noexcept;
};

// What a thread of a team does until the work is over.
void help(Team& team, int share) noexcept;

}  // namespace charlm
