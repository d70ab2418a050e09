// What the host and the kernels agree on: how the work of a model is cut up, and one run of it.
#pragma once

namespace charlm_gpu {

// How a model's streams and weights are dealt out. Sizes are in units of 16 bytes where nothing is
// said: of a row of weights so much is 4 float32 numbers, or 8 of fp16.
//
// Weights pass by a block's streams, or stay in the blocks of a cluster: then each block has so
// many of the units, and of all streams; a warp has whole streams, and a chunk is all k-tiles.
struct Shape {
  int units, layers, vocabulary;
  int parts;                           // of a number: one of fp16, or two, which make float32
  int tiles, row_warps, column_warps;  // a block has row_warps * tiles * 16 streams
  int chunk;                           // k-tiles of 16 rows that pass by together
  int head_groups;                     // groups of 32 characters that do
  int blocks;                          // of a cluster in which weights stay; 0 where they pass by
  bool table_shared;                   // the first layer's table passes by, or stays, too
  bool state_shared, logits_held;      // they stay on the chip

  constexpr int hidden() const {  // units, and such as are always 0
    const int whole = blocks ? 16 * blocks : column_warps > 2 ? 8 * column_warps : 16;
    return (units + whole - 1) / whole * whole;
  }
  constexpr int warps() const { return row_warps * column_warps; }
  constexpr int threads() const { return 32 * warps(); }
  constexpr int row_tiles() const { return tiles * row_warps; }
  constexpr int streams() const { return 16 * row_tiles(); }
  constexpr int depth() const { return hidden() / 16; }
  constexpr int groups() const { return hidden() / 8; }  // of 8 units, which are 32 columns
  constexpr int rounds() const { return groups() / column_warps; }
  constexpr int character_groups() const { return (vocabulary + 31) / 32; }
  constexpr int own() const { return 8 * character_groups(); }  // characters of a lane
  constexpr bool kept() const {                                 // h of a step stays in registers
    return layers == 1 && tiles * depth() * parts <= 24;
  }

  constexpr int piece() const { return 64 * parts; }  // of 16 rows and 32 columns of weights
  constexpr int layer_chunk() const { return column_warps * chunk * piece(); }
  constexpr int head_chunk() const { return head_groups * chunk * piece(); }
  constexpr int entry() const { return 4 * parts; }  // of a character and a group in the table
  constexpr int table() const { return column_warps * vocabulary * entry(); }
  constexpr int largest() const {
    return layer_chunk() > head_chunk() ? layer_chunk() : head_chunk();
  }
  constexpr int slot() const { return largest() + (table_shared ? table() : 0); }
  constexpr int cells() const { return layers * row_tiles() * groups() * 32; }
  constexpr int inputs() const { return layers * parts * row_tiles() * depth() * 32; }
  constexpr int state() const { return cells() + inputs() * (kept() ? 1 : 2); }
  constexpr int values() const { return logits_held ? 0 : row_tiles() * own() * 16; }
  constexpr int letters() const { return streams() / 4; }
  constexpr int passing() const {
    return 2 * slot() + 2 * letters() + (state_shared ? state() : 0);
  }
  constexpr int shared() const { return blocks ? staying() : passing(); }
  constexpr int scratch() const { return (state_shared ? 0 : state()) + values(); }

  // Where weights stay: of a block.
  constexpr int own_groups() const { return groups() / blocks; }
  constexpr int own_depth() const { return depth() / blocks; }
  constexpr int matrix() const { return own_groups() * depth() * piece(); }
  constexpr int head() const { return character_groups() * depth() * piece(); }
  constexpr int own_table() const { return own_groups() * vocabulary * entry(); }
  constexpr int brought() const { return (depth() - own_depth()) * 32; }  // h, to a warp
  constexpr int staying() const {
    return matrix() + head() + (table_shared ? own_table() : 0) + own() +
           row_warps * (brought() + 2);
  }

  constexpr int chunks() const { return depth() / chunk; }  // of a round of the first layer
  constexpr int head_chunks() const { return character_groups() / head_groups * chunks(); }
  constexpr int layer_chunks() const { return rounds() * chunks() * (2 * layers - 1); }
  constexpr int step_chunks() const { return head_chunks() + layer_chunks(); }
};

// How the work of one stream is dealt out to a cluster of blocks: each has so many of the units,
// and the head. Matrices are [units, 4 * own] and [units, vocabulary]; a thread has of each a
// column, and of its rows a slice, in pieces of 16 bytes.
struct Alone {
  int units, layers, vocabulary;
  int parts;                            // 1: weights of fp16; 2: of float32
  int blocks;                           // of a cluster
  bool recurrent_held, head_held;       // in registers: of the first layer, and of the head
  bool table_shared;                    // it stays on the chip
  static constexpr int kThreads = 384;  // at most, of a block
  static constexpr int kHeld = 24;      // pieces that a thread may hold

  constexpr static int over(int size, int part) { return (size + part - 1) / part; }

  constexpr int own() const { return over(units, blocks); }
  constexpr int columns() const { return over(4 * own(), 32) * 32; }
  constexpr int slices() const { return columns() < kThreads ? kThreads / columns() : 1; }
  constexpr int threads() const { return columns() * slices(); }
  constexpr int characters() const { return over(vocabulary, 32) * 32; }
  constexpr int head_slices() const { return threads() / characters(); }  // 0: they have no room
  constexpr int piece() const { return parts == 1 ? 8 : 4; }              // rows
  constexpr int depth() const { return over(over(units, piece()), slices()); }
  constexpr int head_depth() const {
    return head_slices() ? over(over(units, piece()), head_slices()) : 0;
  }
  constexpr int rows() const {  // of h, and such as are always 0
    const int layer = depth() * slices(), head = head_depth() * head_slices();
    return (layer > head ? layer : head) * piece();
  }

  // In units of 16 bytes.
  constexpr int matrix() const { return depth() * threads(); }  // a block's part
  constexpr int matrices() const { return 2 * layers - 1; }     // of the layers above two each
  constexpr int head() const { return head_depth() * threads(); }
  constexpr int table() const { return vocabulary * own(); }  // a block's part, of float32
  constexpr int bias() const { return (layers - 1) * own(); }
  constexpr int state() const { return layers * rows() / 4; }  // h of a side
  constexpr int shared() const {
    return (matrices() - recurrent_held) * matrix() + (head_held ? 0 : head()) +
           (table_shared ? table() : 0) + bias() + characters() / 4 + 2 * state() +
           over(layers * own(), 4) + threads() / 4 + 2 + over(head_slices() * characters(), 4);
  }
};

// Pointers are the device's. In brackets: what a cluster has (`Alone`), where it is something else.
struct Run {
  const void* weights;  // as a step uses them: the head's, then the layers' [by blocks the layers',
                        // then the head's, for all]
  const void* table;    // of the first layer, by groups of 8 units [by blocks]
  const float* bias;    // of the layers above, the same
  const float* head_bias;
  float gate_scale, head_scale;  // what takes products of split numbers back to size [unused]
  int streams;                   // [unused]
  int time, steps, scored, filtered;
  const float *h, *c;                                  // [streams, layers, units]
  const void* prompt;                                  // Id [streams, time]
  const int* lengths;                                  // [streams], at most `time`
  const int* longest;                                  // of each block's, or cluster's [unused]
  const unsigned long long *seed, *stream, *position;  // [streams]
  const float *inverse_temperature, *top_p, *min_p;    // [streams]
  const int* top_k;                                    // [streams]
  void* tokens;                                        // Id [streams, steps]
  float* log_probability;                              // [streams, time] where scored
  float* logits;                                       // [streams, vocabulary]
  float *h_next, *c_next;                              // [streams, layers, units]
  int* not_finite;                                     // becomes 1 where a number is not
  void* scratch;                                       // of each block `Shape::scratch` [unused]
};

}  // namespace charlm_gpu
