// Reads texts and draws others on a GPU: all steps of a run, in one kernel, where the weights stay
// on the chip. (Persistent RNNs: Diamos et al., 2016.)
//
// A cluster of blocks holds the weights of a layer in fp16, each block those of its units, and the
// head's. A warp has 16 streams for all steps; warp w of each block of the cluster has the same
// ones: it makes h of its block's units, keeps that, sends it to the others, and draws. They draw
// the same, so h is all that they exchange.
//
// Warps wait for those of their number in the other blocks, and for the three they multiply with,
// but for no others: while some draw or finish cells, others multiply. State stays in registers, by
// the order of columns that `kernel.cu` has: a thread has all four gates of its units, and of those
// the next h where the next product wants it.
//
// Compiled for one model and device, as KERNEL: SHAPE is a list of what `Shape` begins with, PARTS,
// VOCABULARY and BLOCKS say again what the preprocessor must know.

namespace charlm_gpu {

constexpr Shape kShape{SHAPE};
constexpr int kUnits = kShape.units, kWarps = kShape.row_warps;
constexpr int kDepth = kShape.depth(), kOwnDepth = kShape.own_depth();
constexpr int kOwnGroups = kShape.own_groups(), kCharacterGroups = kShape.character_groups();
constexpr int kOwn = kShape.own();  // characters of a lane, from (lane % 4) * kOwn on
constexpr int kPiece = kShape.piece(), kEntry = kShape.entry();
constexpr int kBrought = 16 * kShape.brought();  // bytes of h, to a warp in a step

class Warp {
 public:
  CHARLM_DEVICE explicit Warp(const Run& run)
      : run_(run),
        lane_(thread_number() % 32),
        row_(lane_ / 4),
        pair_(lane_ % 4),
        rank_(rank()),
        first_((block_number() / BLOCKS * threads_of_block() + thread_number()) / 32 * 16),
        longest_(run.longest[block_number() / BLOCKS]),
        last_(longest_ + run.steps),
        position_(run.position[stream_at(lane_ % 16)]) {
    uint4* place = shared_memory();
    const auto take = [&](int size) {
      uint4* taken = place;
      place += size;
      return taken;
    };
    const int warp = thread_number() / 32;
    weights_ = take(kShape.matrix());
    head_ = take(kShape.head());
    table_ = take(kShape.table_shared ? kShape.own_table() : 0);
    head_bias_ = reinterpret_cast<float*>(take(kOwn));
    brought_ = take(kWarps * kShape.brought()) + warp * kShape.brought() + lane_;
    is_there_ = take(kWarps) + warp;
    is_free_ = take(kWarps) + warp;
  }

  CHARLM_DEVICE void work() {
    begin();
    for_each_row(
        [&](int second, int row) { starts_[second] = longest_ - run_.lengths[stream_at(row)]; });
    for (int step = 0;; ++step) {
      if (step > 0) take_h(step);
      if (step <= longest_) begin_streams(step);
      const bool heads = run_.scored || step >= longest_;
      if (heads) {
        head(step);
      } else {
        for_each_row([&](int second, int row) {
          letters_[second] = id_at(run_, stream_at(row), step - starts_[second]);
        });
      }
      if (step == last_) break;
      layer(step, heads);
    }
    end_streams();
  }

 private:
  CHARLM_DEVICE void begin() {
    const auto* weights = static_cast<const uint4*>(run_.weights);
    const auto* table = static_cast<const uint4*>(run_.table) + rank_ * kShape.own_table();
    copy_all(head_, weights, kShape.head());
    copy_all(weights_, weights + kShape.head() + rank_ * kShape.matrix(), kShape.matrix());
    if (kShape.table_shared) {
      copy_all(table_, table, kShape.own_table());
    } else {
      table_ = table;
    }
    copy_all(reinterpret_cast<const uint4*>(head_bias_),
             reinterpret_cast<const uint4*>(run_.head_bias), kOwn);
    if (BLOCKS > 1 && lane_ == 0) {
      make_gate(is_there_, 1), make_gate(is_free_, BLOCKS - 1);
      expect(is_there_, kBrought);
    }
    copies_are_there();
    show_to_products();
    meet_cluster();
  }
  CHARLM_DEVICE static void copy_all(const uint4* to, const uint4* from, int size) {
    for (int place = thread_number(); place < size; place += threads_of_block())
      copy(const_cast<uint4*>(to) + place, from + place);
  }

  CHARLM_DEVICE int stream_at(int row) const {
    const int stream = first_ + row;
    return stream < run_.streams ? stream : run_.streams - 1;  // rows to spare do a stream's work
  }
  CHARLM_DEVICE bool is_stream(int row) const { return first_ + row < run_.streams; }

  // Calls function(which, row) for the two streams of the lane.
  template <class Function>
  CHARLM_DEVICE void for_each_row(Function function) {
#pragma unroll
    for (int second = 0; second < 2; ++second) function(second, row_ + 8 * second);
  }

  // ---- The state

  // Four warps multiply together: none begins while another of them still waits for a block, or
  // the products of two groups might hold each other up.
  CHARLM_DEVICE void wait_together(uint4* gate, int opening) {
    wait_at(gate, opening);
    meet_group();
  }
  // All h of a step: what others have brought, and its own.
  CHARLM_DEVICE void take_h(int step) {
    if (BLOCKS > 1) wait_together(is_there_, step - 1);
#pragma unroll
    for (int depth = 0; depth < kDepth; ++depth) {
      const int from = depth / kOwnDepth, own = depth % kOwnDepth;
      h_[depth] = BLOCKS == 1 || from == rank_ ? next_[own] : *brought(from, own, rank_);
    }
    if (BLOCKS > 1 && step < last_ && lane_ == 0) expect(is_there_, kBrought);
  }
  // Others may overwrite what they have brought: products of it have begun, so it has been read.
  CHARLM_DEVICE void give_place(int step) {
    if (BLOCKS > 1 && step > 0 && step < last_ && lane_ < BLOCKS && lane_ != rank_)
      come_to(is_free_, lane_);
  }
  // Where a block has a k-tile of h that another has brought.
  CHARLM_DEVICE uint4* brought(int from, int depth, int to) const {
    return brought_ + (from - (from > to)) * kOwnDepth * 32 + depth * 32;
  }

  // Calls function(two units of h, the first's number) for the second or the first stream.
  template <class Function>
  CHARLM_DEVICE void for_each_h(int second, Function function) {
#pragma unroll
    for (int depth = 0; depth < kDepth; ++depth) {
      function(second ? h_[depth].y : h_[depth].x, depth * 16 + 2 * pair_);
      function(second ? h_[depth].w : h_[depth].z, depth * 16 + 2 * pair_ + 8);
    }
  }
  // The same for c: function(c of a unit, its number).
  template <class Function>
  CHARLM_DEVICE void for_each_c(int second, Function function) {
#pragma unroll
    for (int group = 0; group < kOwnGroups; ++group)
#pragma unroll
      for (int unit = 0; unit < 2; ++unit)
        function(c_[group][2 * second + unit], (rank_ * kOwnGroups + group) * 8 + 2 * pair_ + unit);
  }

  CHARLM_DEVICE void begin_streams(int step) {
    for_each_row([&](int second, int row) {
      if (starts_[second] != step) return;
      const Wide place = static_cast<Wide>(stream_at(row)) * kUnits;
      const auto at = [&](const float* values, int unit) {
        return unit < kUnits ? fminf(fmaxf(values[place + unit], -65504.0f), 65504.0f) : 0.0f;
      };
      for_each_h(second,
                 [&](Word& h, int unit) { h = halves(at(run_.h, unit), at(run_.h, unit + 1)); });
      for_each_c(second, [&](float& c, int unit) { c = at(run_.c, unit); });
    });
  }

  CHARLM_DEVICE void end_streams() {
    for_each_row([&](int second, int row) {
      if (!is_stream(row)) return;
      const Wide place = static_cast<Wide>(stream_at(row)) * kUnits;
      const auto give = [&](float* values, int unit, float value) {
        if (unit < kUnits) values[place + unit] = value;
      };
      for_each_h(second, [&](Word both, int unit) {
        const float2 h = floats(both);
        if (rank_ == 0) give(run_.h_next, unit, h.x), give(run_.h_next, unit + 1, h.y);
      });
      for_each_c(second, [&](float c, int unit) { give(run_.c_next, unit, c); });
    });
  }

  // ---- Products

  CHARLM_DEVICE void begin_group(const uint4* weights, int group, float (&sums)[4][4]) const {
    begin_products();
#pragma unroll
    for (int depth = 0; depth < kDepth; ++depth)
      multiply_together(sums, h_[depth], matrix_at(weights) + (group * kDepth + depth) * kPiece,
                        depth > 0);
    commit_products();
  }

  // The cells of a group are finished while the products of the next go on.
  CHARLM_DEVICE void layer(int step, bool place_is_given) {
    float sums[2][4][4];
    begin_group(weights_, 0, sums[0]);
    if (!place_is_given) give_place(step);
#pragma unroll
    for (int group = 0; group < kOwnGroups; ++group) {
      uint4 begin[2];  // what gates begin with: the last characters' entries of the table
      for_each_row([&](int second, int) {
        begin[second] = table_[(group * VOCABULARY + letters_[second]) * kEntry + pair_];
      });
      const bool goes_on = group + 1 < kOwnGroups;
      if (goes_on) begin_group(weights_, group + 1, sums[(group + 1) % 2]);
      auto& own = sums[group % 2];
      products_are_there(own, goes_on);
      uint4& next = next_[group / 2];
      (group % 2 ? next.z : next.x) = finish(begin[0], own, 0, c_[group]);
      (group % 2 ? next.w : next.y) = finish(begin[1], own, 2, c_[group]);
      if (group % 2) send_h(group / 2, step);
    }
  }
  CHARLM_DEVICE void send_h(int depth, int step) {
    if (BLOCKS > 1 && depth == 0 && step > 0) wait_together(is_free_, step - 1);
#pragma unroll
    for (int other = 1; other < BLOCKS; ++other) {
      const int rank = (rank_ + other) % BLOCKS;
      send(brought(rank_, depth, rank), rank, next_[depth], is_there_);
    }
  }

  // From the sums of two units of a stream, the cells from `place` on, and their h; gates in the
  // order i, o, f, c.
  CHARLM_DEVICE static Word finish(const uint4& begin, const float (&sums)[4][4], int place,
                                   float (&c)[4]) {
    const float2 gates[4] = {floats(begin.x), floats(begin.y), floats(begin.z), floats(begin.w)};
    float h[2];
#pragma unroll
    for (int unit = 0; unit < 2; ++unit) {
      const auto gate = [&](int which) {
        return sums[which][place + unit] + (unit ? gates[which].y : gates[which].x);
      };
      float& own = c[place + unit];
      own = fmaf(sigmoid(gate(2)), own, sigmoid(gate(0)) * drive(gate(3)));
      h[unit] = sigmoid(gate(1)) * squashed(own);
    }
    return halves(h[0], h[1]);
  }

  // ---- The head: logits, and what is done with them

  CHARLM_DEVICE void head(int step) {
    float uniform = 0;
    if (step >= longest_ && step < last_) {
      const int stream = stream_at(lane_ % 16);
      if (step == longest_ || position_ % 4 == 0)
        uniforms_.fill(run_.seed[stream], run_.stream[stream], position_);
      uniform = uniforms_.at(position_++);
    }
    float sums[kCharacterGroups][4][4];
#pragma unroll
    for (int group = 0; group < kCharacterGroups; ++group) begin_group(head_, group, sums[group]);
    give_place(step);
#pragma unroll
    for (int group = 0; group < kCharacterGroups; ++group) products_are_there(sums[group]);
    for_each_row([&](int second, int row) {
      const auto logit = [&](int own) -> float& {
        return sums[own / 8][own / 2 % 4][2 * second + own % 2];
      };
#pragma unroll
      for (int own = 0; own < kOwn; ++own) logit(own) += head_bias_[pair_ * kOwn + own];
      Choice<4, kOwn, kOwn, decltype(logit)> choice(run_, stream_at(row), pair_, logit);
      letters_[second] = choice.use(step, starts_[second], longest_, last_,
                                    rank_ == 0 && is_stream(row), from_lane(uniform, row));
    });
  }

  const Run& run_;
  const int lane_, row_, pair_, rank_, first_, longest_, last_;
  const uint4 *weights_, *head_, *table_;
  const float* head_bias_;
  uint4* brought_;
  uint4 *is_there_, *is_free_;  // gates: to h of the others, and to the place for it there
  int starts_[2], letters_[2];
  Wide position_;
  Uniforms uniforms_;
  uint4 h_[kDepth] = {};         // of all units, as products take it
  uint4 next_[kOwnDepth] = {};   // of the block's units, of the next step
  float c_[kOwnGroups][4] = {};  // of two units of one stream, then of the other
};

}  // namespace charlm_gpu

extern "C" __global__ void __cluster_dims__(BLOCKS, 1, 1)
    __launch_bounds__(32 * charlm_gpu::kWarps, 1)
        KERNEL(const __grid_constant__ charlm_gpu::Run run) {
  charlm_gpu::Warp(run).work();
}
