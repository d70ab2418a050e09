// Reads a text and draws another on a cluster of blocks: for few streams, one cluster each.
//
// All weights stay on the chip from the first step to the last, in registers or shared memory: a
// block has those of its units, and the head's. In a step all threads multiply by h, for the first
// layer and for the logits at once, since neither waits for the character. Then one warp sums the
// slices, draws, and sends its units' h to all blocks; every block draws the same, so that h, once
// a layer, is all that blocks wait for.
//
// What bounds a step, by counting and not by measuring, of LSTM-192 with 62 characters in float32:
// a block has 30,720 products, at 128 a cycle at least 240 cycles; then come one after another
// about 20 shuffles and a few special functions for the draw, the cell, and the way of h to other
// blocks, which are latency alone. The aim of 250,000 characters/s leaves 7,000 cycles a step.
//
// Compiled for one model and device, as KERNEL: SHAPE is a list of what `Alone` begins with, PARTS,
// VOCABULARY and BLOCKS say again what the preprocessor must know.

namespace charlm_gpu {

constexpr Alone kShape{SHAPE};
constexpr int kUnits = kShape.units, kLayers = kShape.layers, kOwn = kShape.own();
constexpr int kThreads = kShape.threads(), kColumns = kShape.columns();
constexpr int kSlices = kShape.slices(), kHeadSlices = kShape.head_slices();
constexpr int kCharacters = kShape.characters(), kLetters = kCharacters / 32;  // of a lane
constexpr int kPiece = kShape.piece(), kDepth = kShape.depth(), kHeadDepth = kShape.head_depth();
constexpr int kRows = kShape.rows(), kMatrix = kShape.matrix(), kMatrices = kShape.matrices();
constexpr bool kRecurrentHeld = kShape.recurrent_held, kHeadHeld = kShape.head_held;
constexpr int kHeldDepth = kRecurrentHeld ? kDepth : 0;
constexpr int kHeld = kHeldDepth + (kHeadHeld ? kHeadDepth : 0);
constexpr int kMembers = Alone::over(kUnits, kOwn);  // blocks that have units
constexpr int kBytes = 4 * kUnits;                   // of a layer's h
constexpr int kFew = 4;                    // pieces that are read ahead from shared memory
constexpr int kRounds = (kOwn + 31) / 32;  // of a warp over the block's units
constexpr Wide kAhead = 4 * 32;            // positions of which a warp knows the random words

class Member {
 public:
  CHARLM_DEVICE explicit Member(const Run& run)
      : run_(run),
        thread_(thread_number()),
        lane_(thread_ % 32),
        stream_(block_number() / BLOCKS),
        rank_(rank()),
        first_(rank_ * kOwn),
        length_(run.lengths[stream_]),
        last_(length_ + run.steps),
        position_(run.position[stream_]) {
    uint4* place = shared_memory();
    const auto take = [&](int size) {
      uint4* taken = place;
      place += size;
      return taken;
    };
    matrices_ = take((kMatrices - kRecurrentHeld) * kMatrix);
    head_ = take(kHeadHeld ? 0 : kShape.head());
    table_ = take(kShape.table_shared ? kShape.table() : 0);
    bias_ = reinterpret_cast<float4*>(take(kShape.bias()));
    head_bias_ = reinterpret_cast<float*>(take(kCharacters / 4));
    h_ = reinterpret_cast<float*>(take(2 * kShape.state()));
    c_ = reinterpret_cast<float*>(take(Alone::over(kLayers * kOwn, 4)));
    sums_ = reinterpret_cast<float*>(take(kThreads / 4));
    gates_ = take(2);
    logits_ = reinterpret_cast<float*>(place);
  }

  CHARLM_DEVICE void work() {
    begin();
    if (rank_ >= kMembers) return;
    for (int step = 0;; ++step) {
      const bool heads = run_.scored || step >= length_;
      if (step < last_) multiply_first();
      if (heads) multiply_head();
      meet();
      if (thread_ < 32) finish_first(step, heads);
      if (step == last_) break;
      wait_for_h();
#pragma unroll 1
      for (int layer = 1; layer < kLayers; ++layer) {
        multiply_upper(layer);
        meet();
        if (thread_ < 32) finish(layer, summed(), bias_ + (layer - 1) * kOwn);
        wait_for_h();
      }
      side_ = 1 - side_;
    }
    end();
  }

 private:
  CHARLM_DEVICE float* h(int side, int layer) const {
    return h_ + (side * kLayers + layer) * kRows;
  }
  CHARLM_DEVICE Wide place_of(int layer, int unit) const {
    return (static_cast<Wide>(stream_) * kLayers + layer) * kUnits + unit;
  }

  CHARLM_DEVICE void begin() {
    const auto* weights = static_cast<const uint4*>(run_.weights);
    const auto* head = weights + BLOCKS * kMatrices * kMatrix;
    const auto* table = static_cast<const uint4*>(run_.table) + rank_ * kShape.table();
    const auto* bias = reinterpret_cast<const uint4*>(run_.bias) + rank_ * kShape.bias();
    weights += rank_ * kMatrices * kMatrix;
#pragma unroll
    for (int depth = 0; depth < kHeld; ++depth)
      held_[depth] = (depth < kHeldDepth ? weights + depth * kThreads
                                         : head + (depth - kHeldDepth) * kThreads)[thread_];
    copy_all(matrices_, weights + kRecurrentHeld * kMatrix, (kMatrices - kRecurrentHeld) * kMatrix);
    if (!kHeadHeld) copy_all(head_, head, kShape.head());
    if (kShape.table_shared) {
      copy_all(table_, table, kShape.table());
    } else {
      table_ = table;
    }
    copy_all(reinterpret_cast<uint4*>(bias_), bias, kShape.bias());
    copy_all(reinterpret_cast<uint4*>(head_bias_), reinterpret_cast<const uint4*>(run_.head_bias),
             kCharacters / 4);
    for (int place = thread_; place < 2 * kLayers * kRows; place += kThreads) {
      const int layer = place / kRows, unit = place % kRows;
      h_[place] = layer < kLayers && unit < kUnits ? run_.h[place_of(layer, unit)] : 0.0f;
    }
    for_each_own([&](int layer, int unit, Wide place) { c_[layer * kOwn + unit] = run_.c[place]; });
    if (thread_ == 0) {
      for (int each = 0; each < 2; ++each) {
        make_gate(gates_ + each, 1);
        expect(gates_ + each, kBytes);
      }
    }
    copies_are_there();
    meet_cluster();  // nobody writes into a block that has not begun
  }
  // By turns, since a block that has all h of a layer sends the next while others still wait.
  CHARLM_DEVICE uint4* current_gate() const { return gates_ + opening_ % 2; }
  // Until a layer's h has come from all blocks.
  CHARLM_DEVICE void wait_for_h() {
    wait_at(current_gate(), opening_ / 2);
    if (thread_ == 0) expect(current_gate(), kBytes);
    ++opening_;
  }
  CHARLM_DEVICE static void copy_all(const uint4* to, const uint4* from, int size) {
    for (int place = thread_number(); place < size; place += kThreads)
      copy(const_cast<uint4*>(to) + place, from + place);
  }

  // Calls function(layer, unit of the block, place in a state), each by one thread.
  template <class Function>
  CHARLM_DEVICE void for_each_own(Function function) {
    for (int place = thread_; place < kLayers * kOwn; place += kThreads) {
      const int layer = place / kOwn, unit = place % kOwn;
      if (first_ + unit < kUnits) function(layer, unit, place_of(layer, first_ + unit));
    }
  }

  CHARLM_DEVICE void end() {
    for_each_own([&](int layer, int unit, Wide place) {
      const float h = this->h(side_, layer)[first_ + unit], c = c_[layer * kOwn + unit];
      run_.h_next[place] = h, run_.c_next[place] = c;
    });
  }

  // ---- Products of h and a thread's weights

  struct Sum {
    float part[4] = {0, 0, 0, 0};

    CHARLM_DEVICE void add(const uint4& weights, const float* h) {
      const auto* rows = reinterpret_cast<const float4*>(h);
      const Word words[4] = {weights.x, weights.y, weights.z, weights.w};
#if PARTS == 1
      const float2 w[4] = {floats(words[0]), floats(words[1]), floats(words[2]), floats(words[3])};
      add({w[0].x, w[0].y, w[1].x, w[1].y}, rows[0]);
      add({w[2].x, w[2].y, w[3].x, w[3].y}, rows[1]);
#else
      add({__uint_as_float(words[0]), __uint_as_float(words[1]), __uint_as_float(words[2]),
           __uint_as_float(words[3])},
          rows[0]);
#endif
    }
    CHARLM_DEVICE void add(const float4& w, const float4& h) {
      part[0] = fmaf(w.x, h.x, part[0]), part[1] = fmaf(w.y, h.y, part[1]);
      part[2] = fmaf(w.z, h.z, part[2]), part[3] = fmaf(w.w, h.w, part[3]);
    }
    CHARLM_DEVICE void add_all(const uint4* shared, int depth, const float* h) {
#pragma unroll kFew
      for (int at = 0; at < depth; ++at) add(shared[at * kThreads], h + at * kPiece);
    }
    CHARLM_DEVICE float total() const { return part[0] + part[1] + (part[2] + part[3]); }
  };

  CHARLM_DEVICE int slice() const { return thread_ / kColumns * kDepth * kPiece; }

  CHARLM_DEVICE void multiply_first() {
    const float* from = h(side_, 0) + slice();
    Sum sum;
    if constexpr (kRecurrentHeld) {
#pragma unroll
      for (int at = 0; at < kDepth; ++at) sum.add(held_[at], from + at * kPiece);
    } else {
      sum.add_all(matrices_ + thread_, kDepth, from);
    }
    sums_[thread_] = sum.total();
  }

  CHARLM_DEVICE void multiply_head() {
    if (thread_ >= kHeadSlices * kCharacters) return;
    const float* from = h(side_, kLayers - 1) + thread_ / kCharacters * kHeadDepth * kPiece;
    Sum sum;
    if constexpr (kHeadHeld) {
#pragma unroll
      for (int at = 0; at < kHeadDepth; ++at) sum.add(held_[kHeldDepth + at], from + at * kPiece);
    } else {
      sum.add_all(head_ + thread_, kHeadDepth, from);
    }
    logits_[thread_] = sum.total();
  }

  // Above the first layer comes what the layer below has just made, then its own.
  CHARLM_DEVICE void multiply_upper(int layer) {
    const uint4* weights = matrices_ + (2 * layer - 1 - kRecurrentHeld) * kMatrix + thread_;
    Sum sum;
    sum.add_all(weights, kDepth, h(1 - side_, layer - 1) + slice());
    sum.add_all(weights + kMatrix, kDepth, h(side_, layer) + slice());
    sums_[thread_] = sum.total();
  }

  // ---- The warp that goes on from the sums

  struct Gates {
    float4 of[kRounds];  // i, o, f, c of the units lane, lane + 32, ...
  };
  CHARLM_DEVICE Gates summed() const {
    Gates gates;
#pragma unroll
    for (int round = 0; round < kRounds; ++round) {
      const int unit = round * 32 + lane_ < kOwn ? round * 32 + lane_ : 0;
      float4 sum = {0, 0, 0, 0};
#pragma unroll
      for (int slice = 0; slice < kSlices; ++slice)
        sum = added(sum, reinterpret_cast<const float4*>(sums_ + slice * kColumns)[unit]);
      gates.of[round] = sum;
    }
    return gates;
  }
  CHARLM_DEVICE static float4 added(const float4& a, const float4& b) {
    return {a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w};
  }

  CHARLM_DEVICE void finish_first(int step, bool heads) {
    const Gates gates = summed();  // before the character is known
    const int letter = heads ? use(step) : id_at(run_, stream_, step);
    if (step < last_) finish(0, gates, reinterpret_cast<const float4*>(table_) + letter * kOwn);
  }

  // From sums to cells, and h in all blocks.
  CHARLM_DEVICE void finish(int layer, const Gates& gates, const float4* row) {
#pragma unroll
    for (int round = 0; round < kRounds; ++round) {
      const int unit = round * 32 + lane_;
      if (unit >= kOwn || first_ + unit >= kUnits) continue;
      const float4 gate = added(gates.of[round], row[unit]);
      float& c = c_[layer * kOwn + unit];
      c = fmaf(sigmoid(gate.z), c, sigmoid(gate.x) * drive(gate.w));
      const float made = sigmoid(gate.y) * squashed(c);
#pragma unroll
      for (int rank = 0; rank < kMembers; ++rank)
        send(h(1 - side_, layer) + first_ + unit, rank, made, current_gate());
    }
  }

  // What is done with the logits; the character that is read now.
  CHARLM_DEVICE int use(int step) {
    float held[kLetters];
#pragma unroll
    for (int own = 0; own < kLetters; ++own) {
      const int id = lane_ * kLetters + own;
      float logit = head_bias_[id];
#pragma unroll
      for (int slice = 0; slice < kHeadSlices; ++slice) logit += logits_[slice * kCharacters + id];
      held[own] = logit;
    }
    const auto logit = [&](int own) -> float& { return held[own]; };
    Choice<32, kLetters, kLetters, decltype(logit)> choice(run_, stream_, lane_, logit);
    const bool draws = step >= length_ && step < last_;
    return choice.use(step, 0, length_, last_, rank_ == 0, draws ? next_uniform(step) : 0.0f);
  }

  // Each lane has four positions' words, the warp those of kAhead.
  CHARLM_DEVICE float next_uniform(int step) {
    if (step == length_ || position_ % kAhead == 0)
      uniforms_.fill(run_.seed[stream_], run_.stream[stream_],
                     position_ / kAhead * kAhead + 4 * static_cast<Wide>(lane_));
    const float found = from_lane(uniforms_.at(position_), static_cast<int>(position_ / 4 % 32));
    ++position_;
    return found;
  }

  const Run& run_;
  const int thread_, lane_, stream_, rank_, first_, length_, last_;
  const uint4 *matrices_, *head_, *table_;
  float4* bias_;
  float *head_bias_, *h_, *c_, *sums_, *logits_;
  uint4* gates_;  // two
  int side_ = 0;
  Word opening_ = 0;
  Wide position_;
  Uniforms uniforms_;
  uint4 held_[kHeld ? kHeld : 1];
};

}  // namespace charlm_gpu

extern "C" __global__ void __cluster_dims__(BLOCKS, 1, 1) __launch_bounds__(charlm_gpu::kThreads, 1)
    KERNEL(const __grid_constant__ charlm_gpu::Run run) {
  charlm_gpu::Member(run).work();
}
