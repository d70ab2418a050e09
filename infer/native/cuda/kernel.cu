// Reads texts and draws others on a GPU: all steps of a run, in one kernel.
//
// A block of threads keeps its streams from their first step to their last. Their state stays on
// the chip, and the weights pass by: from the level-2 cache into shared memory, two chunks in turn,
// past all streams of the block. Products are those of the tensor cores, fp16 summed in float32;
// where PARTS is 2, every number is the sum of two of fp16, which together are as good as float32.
//
// What makes it work without moving numbers between threads: columns are ordered so that a thread
// has all four gates of its units, and of those the next state in the place where the next product
// wants it. A warp has `tiles` tiles of 16 streams and every so many-th group of 8 units, a lane
// of each tile the streams lane / 4 and lane / 4 + 8, and of each group the units 2 (lane % 4) and
// the next. The cells of a group are finished while the next group's products are summed: the units
// of a tensor core and those of functions are others.
//
// Streams whose prompts are shorter begin later, so that all end together.
//
// Compiled for one model and device, as KERNEL: SHAPE is a list of what `Shape` begins with, PARTS,
// VOCABULARY and LOGITS_HELD say again what the preprocessor must know.

namespace charlm_gpu {

constexpr Shape kShape{SHAPE};
constexpr int kUnits = kShape.units, kLayers = kShape.layers, kTiles = kShape.tiles;
constexpr int kColumnWarps = kShape.column_warps;
constexpr int kThreads = kShape.threads();
constexpr int kRowTiles = kShape.row_tiles(), kStreams = kShape.streams();
constexpr int kDepth = kShape.depth(), kGroups = kShape.groups(), kRounds = kShape.rounds();
constexpr int kCharacterGroups = kShape.character_groups(), kHeadGroups = kShape.head_groups;
constexpr int kOwn = kShape.own();  // characters of a lane, from (lane % 4) * kOwn on
constexpr int kAtOnce = LOGITS_HELD ? kOwn : 4;
constexpr bool kKept = kShape.kept();
constexpr bool kTableShared = kShape.table_shared, kStateShared = kShape.state_shared;
constexpr int kChunk = kShape.chunk, kPiece = kShape.piece(), kEntry = kShape.entry();
constexpr int kTable = kShape.table(), kLargest = kShape.largest(), kSlot = kShape.slot();
constexpr int kLayerChunk = kShape.layer_chunk(), kHeadChunk = kShape.head_chunk();
constexpr int kCells = kShape.cells(), kInputs = kShape.inputs(), kLetters = kShape.letters();
constexpr int kValues = kShape.values(), kScratch = kShape.scratch();
constexpr int kChunks = kShape.chunks(), kHeadChunks = kShape.head_chunks();
constexpr int kStepChunks = kShape.step_chunks();

// ---- A thread's part of a run

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

class Thread {
 public:
  CHARLM_DEVICE explicit Thread(const Run& run)
      : run_(run),
        lane_(thread_number() % 32),
        row_warp_(thread_number() / 32 % kShape.row_warps),
        column_warp_(thread_number() / 32 / kShape.row_warps),
        row_(lane_ / 4),
        pair_(lane_ % 4),
        first_(block_number() * kStreams),
        longest_(run.longest[block_number()]),
        last_(longest_ + run.steps) {
    uint4* shared = shared_memory();
    uint4* scratch =
        static_cast<uint4*>(run.scratch) + static_cast<Wide>(block_number()) * kScratch;
    slots_ = shared;
    letters_ = reinterpret_cast<int*>(shared + 2 * kSlot);
    starts_ = letters_ + kStreams;
    uint4* state = kStateShared ? shared + 2 * kSlot + 2 * kLetters : scratch + kValues;
    cells_ = reinterpret_cast<float2*>(state);
    inputs_ = state + kCells;
    values_ = reinterpret_cast<float*>(scratch) + own_tile() * kOwn * 64 + lane_;
  }

  CHARLM_DEVICE void work() {
    for (int row = thread_number(); row < kStreams; row += kThreads) {
      starts_[row] = longest_ - run_.lengths[stream_at(row)];
      letters_[row] = 0;
    }
    if (has_head()) position_ = run_.position[stream_at(own_tile() * 16 + lane_ % 16)];
    meet();
    chunk_ = heads(0) ? 0 : kHeadChunks;
    order();
    for (int step = 0;; ++step) {
      if (step <= longest_) begin_streams(step);
      meet();  // h is written, and nobody reads the letters of the last step any more
      if (heads(step)) head(step);
      if (step == last_) break;
      if (!heads(step)) take_given(step);
      layers();
    }
    end_streams();
  }

 private:
  // ---- Streams, and where they stand

  CHARLM_DEVICE int tile(int own) const { return row_warp_ * kTiles + own; }
  CHARLM_DEVICE int stream_at(int row) const {
    const int stream = first_ + row;
    return stream < run_.streams ? stream : run_.streams - 1;  // rows to spare do a stream's work
  }
  CHARLM_DEVICE bool is_stream(int row) const { return first_ + row < run_.streams; }

  // Whether a step begins with the logits: to draw, to score, or as a result.
  CHARLM_DEVICE bool heads(int step) const { return run_.scored || step >= longest_; }

  CHARLM_DEVICE void take_given(int step) {
    for (int row = thread_number(); row < kStreams; row += kThreads)
      letters_[row] = id_at(run_, stream_at(row), step - starts_[row]);
  }

  // ---- The state: cells [kLayers, row tiles, groups, lanes] of two streams and two units each,
  // and h as the products take it, [kLayers, PARTS, row tiles, k-tiles, lanes].

  CHARLM_DEVICE float2* cells(int layer, int row_tile, int group) const {
    return cells_ + (((layer * kRowTiles + row_tile) * kGroups + group) * 32 + lane_) * 2;
  }
  CHARLM_DEVICE uint4* input_place(int side, int layer, int part, int row_tile, int depth) const {
    const int place = ((layer * PARTS + part) * kRowTiles + row_tile) * kDepth + depth;
    return inputs_ + side * kInputs + place * 32 + lane_;
  }
  CHARLM_DEVICE Input input(int side, int layer, int row_tile, int depth) const {
    Input found;
#pragma unroll
    for (int part = 0; part < PARTS; ++part)
      found.part[part] = *input_place(side, layer, part, row_tile, depth);
    return found;
  }
  // h of two units of the first or second stream of a lane.
  CHARLM_DEVICE Word* h_place(int side, int layer, int part, int row_tile, int group,
                              int second) const {
    auto* words = reinterpret_cast<Word*>(input_place(side, layer, part, row_tile, group / 2));
    return words + group % 2 * 2 + second;
  }
  CHARLM_DEVICE void keep_h(int side, int layer, int row_tile, int group, float2 one, float2 two) {
    const uint2 large{halves(one.x, one.y), halves(two.x, two.y)};
    *reinterpret_cast<uint2*>(h_place(side, layer, 0, row_tile, group, 0)) = large;
#if PARTS == 2
    *reinterpret_cast<uint2*>(h_place(side, layer, 1, row_tile, group, 0)) = {rest(one, large.x),
                                                                              rest(two, large.y)};
#endif
  }
  CHARLM_DEVICE void keep_h(int side, int layer, int row_tile, int group, int second, float2 h) {
    const Word large = halves(h.x, h.y);
    *h_place(side, layer, 0, row_tile, group, second) = large;
#if PARTS == 2
    *h_place(side, layer, 1, row_tile, group, second) = rest(h, large);
#endif
  }
  // What fp16 leaves of two numbers.
  CHARLM_DEVICE static Word rest(float2 numbers, Word large) {
    const float2 taken = floats(large);
    return halves(numbers.x - taken.x, numbers.y - taken.y);
  }
  CHARLM_DEVICE float2 kept_h(int layer, int row_tile, int group, int second) const {
    float2 h = floats(*h_place(side_, layer, 0, row_tile, group, second));
#if PARTS == 2
    const float2 small = floats(*h_place(side_, layer, 1, row_tile, group, second));
    h = {h.x + small.x, h.y + small.y};
#endif
    return h;
  }
  CHARLM_DEVICE int next_side() const { return kKept ? 0 : 1 - side_; }

  // Calls function(layer, row tile, group, which of the two streams, their row) for all of its own.
  template <class Function>
  CHARLM_DEVICE void for_each_own(Function function) {
#pragma unroll 1
    for (int own = 0; own < 2 * kTiles; ++own) {
      const int row_tile = tile(own / 2), second = own % 2;
      const int row = row_tile * 16 + row_ + 8 * second;
#pragma unroll 1
      for (int layer = 0; layer < kLayers; ++layer)
#pragma unroll 1
        for (int group = column_warp_; group < kGroups; group += kColumnWarps)
          function(layer, row_tile, group, second, row);
    }
  }
  CHARLM_DEVICE Wide place_of(int row, int layer, int unit) const {
    return (static_cast<Wide>(stream_at(row)) * kLayers + layer) * kUnits + unit;
  }
  CHARLM_DEVICE static float2 two_at(const float* values, Wide place, int unit) {
    const auto limited = [](float x) { return fminf(fmaxf(x, -65504.0f), 65504.0f); };
    return {unit < kUnits ? limited(values[place]) : 0.0f,
            unit + 1 < kUnits ? limited(values[place + 1]) : 0.0f};
  }

  CHARLM_DEVICE void begin_streams(int step) {
    for_each_own([&](int layer, int row_tile, int group, int second, int row) {
      const bool begins = starts_[row] == step;
      if (!begins && step > 0) return;
      const int unit = group * 8 + 2 * pair_;
      const Wide place = place_of(row, layer, unit);
      const float2 nothing{0, 0};
      cells(layer, row_tile, group)[second] = begins ? two_at(run_.c, place, unit) : nothing;
      keep_h(side_, layer, row_tile, group, second, begins ? two_at(run_.h, place, unit) : nothing);
    });
  }

  // Where a number is not finite, the logits were not, either.
  CHARLM_DEVICE void end_streams() {
    for_each_own([&](int layer, int row_tile, int group, int second, int row) {
      if (!is_stream(row)) return;
      const float2 c = cells(layer, row_tile, group)[second];
      const float2 h = kept_h(layer, row_tile, group, second);
      const int unit = group * 8 + 2 * pair_;
      const Wide place = place_of(row, layer, unit);
      if (unit < kUnits) run_.h_next[place] = h.x, run_.c_next[place] = c.x;
      if (unit + 1 < kUnits) run_.h_next[place + 1] = h.y, run_.c_next[place + 1] = c.y;
    });
  }

  // ---- Weights, chunk by chunk

  // From a thread's own first place on every so many-th; of at most `kMost`.
  template <int kMost, int kPlace = 0>
  CHARLM_DEVICE static void copy_all(uint4* to, const uint4* from, int size) {
    if constexpr (!kCopiesBeside) {  // one at a time: each has its numbers in registers
#pragma unroll 1
      for (int place = 0; place + thread_number() < size; place += kThreads)
        to[place] = from[place];
    } else if constexpr (kPlace < kMost) {
      copy<kPlace>(to, from, kPlace + thread_number() < size);
      copy_all<kMost, kPlace + kThreads>(to, from, size);
    }
  }

  // Sends for the chunk after the last that was sent for, if there is one; without a branch, so
  // that it is mixed with products.
  CHARLM_DEVICE void order() {
    const int left = 2 * (last_ - ordered_step_) + (chunk_ < kHeadChunks);
    const int place = chunk_ - kHeadChunks;
    const bool head = place < 0, table = !head && place < kRounds * kChunks && place % kChunks == 0;
    const int from = head ? chunk_ * kHeadChunk : kHeadChunks * kHeadChunk + place * kLayerChunk;
    uint4* slot = slots_ + turn_ % 2 * kSlot + thread_number();
    copy_all<kLargest>(slot, static_cast<const uint4*>(run_.weights) + from + thread_number(),
                       left > 0 ? head ? kHeadChunk : kLayerChunk : 0);
    if (kTableShared)
      copy_all<kTable>(
          slot + kLargest,
          static_cast<const uint4*>(run_.table) + place / kChunks * kTable + thread_number(),
          left > 0 && table ? kTable : 0);
    const bool step_ends = ++chunk_ == kStepChunks;
    ordered_step_ += step_ends;
    if (step_ends) chunk_ = heads(ordered_step_) ? 0 : kHeadChunks;
  }

  // The next chunk; the one before may be overwritten from here on.
  CHARLM_DEVICE const uint4* next() {
    copies_are_there();
    meet();
    const uint4* slot = slots_ + turn_ % 2 * kSlot;
    ++turn_;
    if (!kCopiesBeside) order();
    return slot;
  }

  // Who has taken a chunk calls this once its first products are under way.
  CHARLM_DEVICE void go_on() {
    if (kCopiesBeside) order();
  }

  // ---- The layers

  CHARLM_DEVICE void layers() {
    if constexpr (kKept) {
#pragma unroll
      for (int own = 0; own < kTiles; ++own)
#pragma unroll
        for (int depth = 0; depth < kDepth; ++depth)
          kept_[own][depth] = input(0, 0, tile(own), depth);
    }
    layer(0, kChunks);
#pragma unroll 1
    for (int upper = 1; upper < kLayers; ++upper) layer(upper, 2 * kChunks);
    if (!kKept) side_ = 1 - side_;
  }

  CHARLM_DEVICE void layer(int layer, int chunks) {
    Sums sums[kTiles], before[kTiles];
#pragma unroll 1
    for (int round = 0; round < kRounds; ++round) {
      const int group = round * kColumnWarps + column_warp_;
      if (round == 0) {
        multiply<false>(layer, group, chunks, sums, before);
      } else {
        multiply<true>(layer, group, chunks, sums, before);
      }
#pragma unroll
      for (int own = 0; own < kTiles; ++own) before[own] = sums[own];
    }
    Finishing last(*this, layer, (kRounds - 1) * kColumnWarps + column_warp_);
#pragma unroll
    for (int cell = 0; cell < Finishing::kCount; ++cell) last.finish(cell, before);
  }

  // A group's sums; meanwhile, if `finishes`, the cells of the group before it.
  template <bool finishes>
  CHARLM_DEVICE void multiply(int layer, int group, int chunks, Sums (&sums)[kTiles],
                              const Sums (&before)[kTiles]) {
    multiply_chunk<finishes, true>(layer, group, 0, sums, before);
    if constexpr (kKept) {
#pragma unroll
      for (int chunk = 1; chunk < kChunks; ++chunk)
        multiply_chunk<false, false>(layer, group, chunk, sums, before);
    } else {
#pragma unroll 1
      for (int chunk = 1; chunk < chunks; ++chunk)
        multiply_chunk<false, false>(layer, group, chunk, sums, before);
    }
  }

  template <bool finishes, bool begins>
  CHARLM_DEVICE void multiply_chunk(int layer, int group, int chunk, Sums (&sums)[kTiles],
                                    const Sums (&before)[kTiles]) {
    const uint4* slot = next();
    const uint4* weights = slot + column_warp_ * kChunk * kPiece + lane_;
    Weights b(weights);
    Finishing cells(*this, layer, group - kColumnWarps);
    if (begins) begin(layer, group, slot + kLargest, sums);
#pragma unroll
    for (int place = 0; place < kChunk; ++place) {
      const int depth = chunk * kChunk + place;
      const Weights following(weights + (place + 1 < kChunk ? place + 1 : place) * kPiece);
#pragma unroll
      for (int own = 0; own < kTiles; ++own) {
        if constexpr (kKept) {
          sums[own].add(kept_[own][depth], b);
        } else {
          // Above the first layer comes what the layer below has just made, then its own.
          const bool below = layer > 0 && depth < kDepth;
          const int from = below ? layer - 1 : layer, side = below ? 1 - side_ : side_;
          const int at = layer > 0 && !below ? depth - kDepth : depth;
          sums[own].add(input(side, from, tile(own), at), b);
        }
      }
      if (place == 0) go_on();
      if constexpr (finishes) {
#pragma unroll
        for (int cell = 0; cell < Finishing::kCount; ++cell)
          if (cell * kChunk / Finishing::kCount == place) cells.finish(cell, before);
      }
      b = following;
    }
  }

  // Sums begin with the row of the table that belongs to the last character, or with the bias.
  CHARLM_DEVICE void begin(int layer, int group, const uint4* shared_table, Sums (&sums)[kTiles]) {
    const uint4* table = kTableShared
                             ? shared_table + column_warp_ * VOCABULARY * kEntry
                             : static_cast<const uint4*>(run_.table) + group * VOCABULARY * kEntry;
#pragma unroll
    for (int own = 0; own < kTiles; ++own) {
#pragma unroll
      for (int second = 0; second < 2; ++second) {
        float x[8];  // of four gates, two units
        if (layer > 0) {
          const auto* bias = reinterpret_cast<const float4*>(run_.bias);
          unpack(bias + (((layer - 1) * kGroups + group) * 4 + pair_) * 2, x);
        } else {
          const int letter = letters_[tile(own) * 16 + row_ + 8 * second];
          const uint4* entry = table + letter * kEntry + pair_ * PARTS;
#if PARTS == 2
          unpack(reinterpret_cast<const float4*>(entry), x);
#else
          const float2 two[4] = {floats(entry->x), floats(entry->y), floats(entry->z),
                                 floats(entry->w)};
#pragma unroll
          for (int gate = 0; gate < 4; ++gate)
            x[2 * gate] = two[gate].x, x[2 * gate + 1] = two[gate].y;
#endif
        }
#pragma unroll
        for (int gate = 0; gate < 4; ++gate) {
#pragma unroll
          for (int unit = 0; unit < 2; ++unit)
            sums[own].begin(gate, 2 * second + unit, x[2 * gate + unit]);
        }
      }
    }
  }
  CHARLM_DEVICE static void unpack(const float4* from, float (&x)[8]) {
    const float4 low = from[0], high = from[1];
    x[0] = low.x, x[1] = low.y, x[2] = low.z, x[3] = low.w;
    x[4] = high.x, x[5] = high.y, x[6] = high.z, x[7] = high.w;
  }

  // From a group's sums to its cells and h, cell by cell; gates in the order i, o, f, c.
  class Finishing {
   public:
    static constexpr int kCount = 4 * kTiles;  // of each tile two streams, two units

    CHARLM_DEVICE Finishing(Thread& thread, int layer, int group)
        : thread_(thread), layer_(layer), group_(group) {}

    CHARLM_DEVICE void finish(int cell, const Sums (&sums)[kTiles]) {
      const int own = cell / 4, place = cell % 4, row_tile = thread_.tile(own);
      auto* cells = reinterpret_cast<float4*>(thread_.cells(layer_, row_tile, group_));
      if (place == 0) {
        const float4 c = *cells;
        c_[0] = c.x, c_[1] = c.y, c_[2] = c.z, c_[3] = c.w;
      }
      const auto gate = [&](int which) {
        return sums[own].at(which, place, thread_.run_.gate_scale);
      };
      c_[place] = fmaf(sigmoid(gate(2)), c_[place], sigmoid(gate(0)) * drive(gate(3)));
      h_[place] = sigmoid(gate(1)) * squashed(c_[place]);
      if (place < 3) return;
      *cells = {c_[0], c_[1], c_[2], c_[3]};
      thread_.keep_h(thread_.next_side(), layer_, row_tile, group_, {h_[0], h_[1]}, {h_[2], h_[3]});
    }

   private:
    Thread& thread_;
    const int layer_, group_;
    float c_[4], h_[4];
  };

  // ---- The head: logits, and what is done with them, of one tile of a warp

  CHARLM_DEVICE bool has_head() const { return kColumnWarps <= kTiles || column_warp_ < kTiles; }
  CHARLM_DEVICE int own_tile() const { return tile(has_head() ? column_warp_ : 0); }

  struct Held {
    Sums sums[LOGITS_HELD ? kCharacterGroups : 1];
  };
  // The logit, or weight, of a lane's character of the first or second of its streams.
  CHARLM_DEVICE float& value(Held& held, int second, int own) {
#if LOGITS_HELD
    return held.sums[own / 8].large[own / 2 % 4][2 * second + own % 2];
#else
    return values_[(second * kOwn + own) * 32];
#endif
  }

  CHARLM_DEVICE void head(int step) {
    Held held;
#if LOGITS_HELD
#pragma unroll
    for (int group = 0; group < kCharacterGroups; group += kHeadGroups)
      logits(group, reinterpret_cast<Sums(&)[kHeadGroups]>(held.sums[group]));
#else
#pragma unroll 1
    for (int group = 0; group < kCharacterGroups; group += kHeadGroups) {
      Sums sums[kHeadGroups];
      logits(group, sums);
      if (!has_head()) continue;
#pragma unroll
      for (int each = 0; each < kHeadGroups; ++each)
#pragma unroll
        for (int own = 0; own < 8; ++own)
#pragma unroll
          for (int second = 0; second < 2; ++second)
            value(held, second, (group + each) * 8 + own) =
                sums[each].large[own / 2][2 * second + own % 2];
    }
#endif
    if (has_head()) use(step, held);
  }

  CHARLM_DEVICE void logits(int group, Sums (&sums)[kHeadGroups]) {
    if (has_head()) {
#pragma unroll
      for (int each = 0; each < kHeadGroups; ++each) {
        const float* bias = run_.head_bias + pair_ * kOwn + (group + each) * 8;
#pragma unroll
        for (int column = 0; column < 4; ++column)
#pragma unroll
          for (int place = 0; place < 4; ++place)
            sums[each].begin(column, place, bias[2 * column + place % 2]);
      }
    }
#pragma unroll 1
    for (int chunk = 0; chunk < kChunks; ++chunk) {
      const uint4* slot = next() + lane_;
      if (!has_head()) {
        go_on();
        continue;
      }
#pragma unroll
      for (int place = 0; place < kChunk; ++place) {
        const Input a = input(side_, kLayers - 1, own_tile(), chunk * kChunk + place);
#pragma unroll
        for (int each = 0; each < kHeadGroups; ++each)
          sums[each].add(a, Weights(slot + (each * kChunk + place) * kPiece));
        if (place == 0) go_on();
      }
    }
#if PARTS == 2
#pragma unroll
    for (int each = 0; each < kHeadGroups; ++each)
#pragma unroll
      for (int column = 0; column < 4; ++column)
#pragma unroll
        for (int place = 0; place < 4; ++place)
          sums[each].large[column][place] = sums[each].at(column, place, run_.head_scale);
#endif
  }

  CHARLM_DEVICE void use(int step, Held& held) {
    const bool drawing = step >= longest_ && step < last_;
    float uniform = 0;
    if (drawing) {
      const int stream = stream_at(own_tile() * 16 + lane_ % 16);
      if (step == longest_ || position_ % 4 == 0)
        uniforms_.fill(run_.seed[stream], run_.stream[stream], position_);
      uniform = uniforms_.at(position_++);
    }
#pragma unroll
    for (int second = 0; second < 2; ++second) {
      const int row = own_tile() * 16 + row_ + 8 * second, stream = stream_at(row);
      const auto logit = [&](int own) -> float& { return value(held, second, own); };
      Choice<4, kOwn, kAtOnce, decltype(logit)> choice(run_, stream, pair_, logit);
      const int letter = choice.use(step, starts_[row], longest_, last_, is_stream(row),
                                    from_lane(uniform, row_ + 8 * second));
      if (pair_ == 0) letters_[row] = letter;
    }
  }

  const Run& run_;
  const int lane_, row_warp_, column_warp_, row_, pair_, first_, longest_, last_;
  uint4 *slots_, *inputs_;
  float2* cells_;
  int *letters_, *starts_;
  float* values_;
  int side_ = 0, ordered_step_ = 0, chunk_ = 0;
  Word turn_ = 0;
  Wide position_ = 0;
  Uniforms uniforms_;
  Input kept_[kKept ? kTiles : 1][kKept ? kDepth : 1];
};

}  // namespace charlm_gpu

extern "C" __global__ void __launch_bounds__(charlm_gpu::kThreads, 1)
    KERNEL(const __grid_constant__ charlm_gpu::Run run) {
  charlm_gpu::Thread(run).work();
}
