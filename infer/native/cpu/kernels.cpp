// The loop over characters, for the instruction set that this file is compiled for.
//
// Compiled once for each, so nothing here may have a name that another copy could be taken for:
// all but one function is in an unnamed namespace, and no template of the standard library is used.
#include <cstddef>
#include <cstring>
#include <new>

#include "../filters.h"
#include "../model.h"
#include "../philox.h"
#include "../team.h"
#include "cell.h"
#include "products.h"
#include "simd.h"

struct charlm::Model {
  charlm::Precision precision;
  void* memory;
};

namespace {

using charlm::Call;
using charlm::Outcome;
using charlm::Precision;
using charlm::Team;
using charlm::Weights;

constexpr std::int64_t kRows =
    48;  // characters whose logits are taken together where all are known
constexpr float kGreedy = 0x1p100f, kGreedyUniform = 0x1p-24f;
constexpr float kLowest = -126.0f;  // of a power of two: what is less weighs nothing

// Hands out parts of one piece of memory; without one it only counts.
class Arena {
 public:
  explicit Arena(char* base) : base_(base) {}
  template <class T>
  T* take(std::int64_t count) {
    T* at = base_ ? reinterpret_cast<T*>(base_ + used_) : nullptr;
    used_ += static_cast<std::size_t>(rounded_up(count * static_cast<std::int64_t>(sizeof(T)), 64));
    return at;
  }
  std::size_t used() const { return used_; }

 private:
  char* base_;
  std::size_t used_ = 0;
};

constexpr std::align_val_t kLine{64};
void* take_memory(std::size_t size) { return ::operator new(size, kLine, std::nothrow); }
void give_back(void* memory) { ::operator delete(memory, kLine); }

// ---- Packing

template <class P>
struct Layer {
  float* start;  // what the gates begin with: rows of the table, or the bias
  Matrix<P> matrix;
};

template <class P>
struct Packed : charlm::Model {
  std::int64_t vocabulary, hidden, layers, panels, head_panels;
  std::int64_t units() const { return panels * kLanes; }
  std::int64_t columns() const { return panels * kColumns; }
  std::int64_t characters() const { return head_panels * kColumns; }
  Layer<P>* layer;
  Matrix<P> head;
  float* head_bias;
};

inline float rounded(float x) { return (x + kMagic) - kMagic; }

// Where column `column` of panels comes from: of four gates of `hidden` columns each, or -1.
struct Gates {
  std::int64_t hidden;
  std::int64_t operator()(std::int64_t column) const {
    const std::int64_t gate = column / kLanes % kWide;
    const std::int64_t unit = column / kColumns * kLanes + column % kLanes;
    return unit < hidden ? gate * hidden + unit : -1;
  }
  float factor(std::int64_t source) const {
    return source < 3 * hidden ? kSigmoidFactor : kTanhFactor;
  }
};
struct Plain {
  std::int64_t width;
  std::int64_t operator()(std::int64_t column) const { return column < width ? column : -1; }
  float factor(std::int64_t) const { return 1; }
};

template <class P>
typename P::Weight* place(Arena& arena, Matrix<P>& matrix, std::int64_t panels, std::int64_t rows,
                          std::int64_t sources) {
  matrix.groups = rounded_up(rows, P::kGroup) / P::kGroup;
  matrix.sources = sources;
  auto* weights = arena.take<typename P::Weight>(panels * matrix.panel_size());
  matrix.panels = weights;
  return weights;
}

template <class From>
void fill(Matrix<Float32>& matrix, Arena& arena, std::int64_t panels, std::int64_t rows,
          std::int64_t sources, const float* weights, std::int64_t width, From from) {
  float* to = place(arena, matrix, panels, rows, sources);
  if (!to) return;
  for (std::int64_t panel = 0; panel < panels; ++panel)
    for (std::int64_t row = 0; row < sources * rows; ++row)
      for (std::int64_t column = panel * kColumns; column < (panel + 1) * kColumns; ++column) {
        const std::int64_t source = from(column);
        *to++ = source < 0 ? 0.0f : weights[row * width + source] * from.factor(source);
      }
}

template <class From>
void fill(Matrix<Int8>& matrix, Arena& arena, std::int64_t panels, std::int64_t rows,
          std::int64_t sources, const float* weights, std::int64_t width, From from) {
  auto* to = place(arena, matrix, panels, rows, sources);
  auto* scale = arena.take<float>(panels * kColumns);
  auto* surplus = arena.take<std::int32_t>(panels * kColumns);
  matrix.scale = scale, matrix.surplus = surplus;
  if (!to) return;
  std::memset(to, 0, static_cast<std::size_t>(panels * matrix.panel_size()) * sizeof *to);
  for (std::int64_t column = 0; column < panels * kColumns; ++column) {
    const std::int64_t source = from(column);
    float most = 0;
    for (std::int64_t row = 0; source >= 0 && row < sources * rows; ++row) {
      const float size = weights[row * width + source];
      most = size > most ? size : -size > most ? -size : most;
    }
    const float step = most > 0 ? most / 127 : 1;
    std::int32_t sum = 0;
    for (std::int64_t row = 0; source >= 0 && row < sources * rows; ++row) {
      const auto value = static_cast<std::int32_t>(rounded(weights[row * width + source] / step));
      const std::int64_t group = row / rows * matrix.groups + row % rows / Int8::kGroup;
      typename Int8::Weight* at = to + column / kColumns * matrix.panel_size() +
                                  (group * kColumns + column % kColumns) * Int8::kGroup;
      at[row % rows % Int8::kGroup] = static_cast<typename Int8::Weight>(value);
      sum += value;
    }
    scale[column] = step / 127 * from.factor(source);
    surplus[column] = Int8::kZero * sum;
  }
}

template <class P>
void lay_out(Packed<P>& model, const Weights& weights, Arena& arena) {
  const std::int64_t hidden = weights.hidden, gates = 4 * hidden;
  const Gates from{hidden};
  model.layer = arena.take<Layer<P>>(weights.layers);
  const bool placing = model.layer != nullptr;
  for (std::int64_t index = 0; index < weights.layers; ++index) {
    Layer<P> counted{};
    Layer<P>& layer = placing ? model.layer[index] : counted;
    layer = {};
    const std::int64_t rows = index == 0 ? weights.vocabulary : 1;
    const float* start = index == 0 ? weights.table : weights.upper_bias + (index - 1) * gates;
    layer.start = arena.take<float>(rows * model.columns());
    for (std::int64_t at = 0; placing && at < rows * model.columns(); ++at) {
      const std::int64_t source = from(at % model.columns());
      layer.start[at] =
          source < 0 ? 0.0f : start[at / model.columns() * gates + source] * from.factor(source);
    }
    if (index == 0) {
      fill(layer.matrix, arena, model.panels, hidden, 1, weights.recurrent, gates, from);
    } else {
      const float* both = weights.upper + (index - 1) * 2 * hidden * gates;
      fill(layer.matrix, arena, model.panels, hidden, 2, both, gates, from);
    }
  }
  const Plain plain{weights.vocabulary};
  fill(model.head, arena, model.head_panels, hidden, 1, weights.head, weights.vocabulary, plain);
  model.head_bias = arena.take<float>(model.characters());
  for (std::int64_t at = 0; placing && at < model.characters(); ++at)
    model.head_bias[at] = at < weights.vocabulary ? weights.head_bias[at] : -__builtin_inff();
}

template <class P>
charlm::Model* pack(const Weights& weights, Precision precision) {
  Packed<P> model{};
  model.precision = precision;
  model.vocabulary = weights.vocabulary, model.hidden = weights.hidden;
  model.layers = weights.layers;
  model.panels = rounded_up(weights.hidden, kLanes) / kLanes;
  model.head_panels = rounded_up(weights.vocabulary, kColumns) / kColumns;
  Arena counting(nullptr);
  counting.take<Packed<P>>(1);
  lay_out(model, weights, counting);
  char* memory = static_cast<char*>(take_memory(counting.used()));
  if (!memory) return nullptr;
  Arena arena(memory);
  auto* placed = arena.take<Packed<P>>(1);
  *placed = model;
  placed->memory = memory;
  lay_out(*placed, weights, arena);
  return placed;
}

// ---- Streams

// Some streams on their way. Each has a row; rows that still read stand before those that don't.
template <class P>
struct Block {
  Block(const Packed<P>& model, const Call& call, std::int64_t rows, std::int64_t first, Team& team)
      : model(model), call(call), rows(rows), first(first), team(team) {}

  const Packed<P>& model;
  const Call& call;
  const std::int64_t rows, first;
  Team& team;
  std::int64_t* stream;     // of a row
  float* h[2];              // [layers, rows, units]: now, and after the next character
  typename P::Input* x[2];  // the same as inputs of products
  float* c;                 // [layers, rows, units]
  float* logits;            // [max(rows, kRows), characters]
  std::int32_t* tokens;     // [rows]
  typename P::Input* tops;  // [kRows or more, units], of the last layer, yet to be scored
  std::int64_t* scored;     // where in log_probability each goes
  Philox* random;
  float* inverse;       // [rows], of the temperature
  bool* filtered;       // [rows], whether a filter may remove a character
  std::uint64_t* keys;  // [vocabulary], of the filters
  float* turned;        // [characters, kLanes], the logits of so many rows
  int now = 0;
  bool backwards = false;
  std::int64_t layer = 0;    // that the team works on
  std::int64_t waiting = 0;  // rows in `tops`

  std::int64_t units() const { return model.units(); }
  float* state(float* base, std::int64_t layer, std::int64_t row = 0) const {
    return base + (layer * rows + row) * units();
  }
  const typename P::Input* top(std::int64_t row = 0) const {
    return x[now] + ((model.layers - 1) * rows + row) * units();
  }
};

template <class P>
void place(Block<P>& block, Arena& arena) {
  const auto& model = block.model;
  const std::int64_t rows = block.rows, size = model.layers * rows * model.units();
  const std::int64_t most = (rows > kRows ? rows : kRows);
  block.stream = arena.take<std::int64_t>(rows);
  for (int side = 0; side < 2; ++side) {
    block.h[side] = arena.take<float>(size);
    if constexpr (sizeof(typename P::Input) == sizeof(float))
      block.x[side] = reinterpret_cast<typename P::Input*>(block.h[side]);
    else
      block.x[side] = arena.take<typename P::Input>(size);
  }
  block.c = arena.take<float>(size);
  block.logits = arena.take<float>(most * model.characters());
  block.tokens = arena.take<std::int32_t>(rows);
  block.tops = arena.take<typename P::Input>(block.call.scored ? most * model.units() : 0);
  block.scored = arena.take<std::int64_t>(block.call.scored ? most : 0);
  block.random = arena.take<Philox>(rows);
  block.inverse = arena.take<float>(rows);
  block.filtered = arena.take<bool>(rows);
  block.keys = arena.take<std::uint64_t>(model.vocabulary);
  block.turned = arena.take<float>(model.characters() * kLanes);
}

inline void keep_input(float*, Floats) {}  // float32's is h itself
template <class Input>
inline void keep_input(Input* to, Floats h) {
  const Ints whole = bits(h * 127.0f + kMagic) - (kMagicBits - Int8::kZero);
  const auto small = __builtin_convertvector(whole, typename VectorOf<Input, kLanes>::Aligned);
  std::memcpy(to, &small, sizeof small);
}

// The gates of M streams and N panels, and the units' new state.
template <class P, int M, int N>
void step(Block<P>& block, std::int64_t index, std::int64_t panel, std::int64_t row) {
  const auto& model = block.model;
  const Layer<P>& layer = model.layer[index];
  const std::int64_t units = block.units();
  const int now = block.now, next = 1 - now;
  const typename P::Input* own = block.x[now] + index * block.rows * units;
  Inputs<P> inputs{{own, own}, units};
  if (index > 0) inputs.at[0] = block.x[next] + (index - 1) * block.rows * units;
  typename P::Sums sums[M][N * kWide];
  multiply<P, M, N>(layer.matrix, panel, inputs, row, sums);
  unrolled<M>([&](auto m) CHARLM_LAMBDA {
    const float* start = layer.start;
    if (index == 0) start += block.tokens[row + m.value] * model.columns();
    const std::int64_t at = (index * block.rows + row + m.value) * units + panel * kLanes;
    for (int n = 0; n < N; ++n) {
      const std::int64_t column = (panel + n) * kColumns;
      Floats gate[kWide];
      for (int g = 0; g < kWide; ++g) {
        const std::int64_t place = column + g * kLanes;
        const auto sum = sums[m.value][n * kWide + g];
        gate[g] = finished(layer.matrix, sum, place) + load(start + place);
      }
      const std::int64_t unit = at + n * kLanes;
      const CellState after = cell(gate[0], gate[1], gate[2], gate[3], load(block.c + unit));
      store(block.c + unit, after.c);
      store(block.h[next] + unit, after.h);
      keep_input(block.x[next] + unit, after.h);
    }
  });
}

// Calls `one` with a number up to N that is known only now, as one that the compiler knows.
template <int N, class One>
inline void with_number(std::int64_t number, One one) {
  if (number == N) {
    one(Number<N>());
  } else if constexpr (N > 1) {
    with_number<N - 1>(number, one);
  }
}

// Cuts rows into groups of nearly equal size, of at most kTogether.
template <class One>
inline void in_groups(std::int64_t rows, One one) {
  std::int64_t groups = rounded_up(rows, kTogether) / kTogether;
  for (std::int64_t row = 0; row < rows;) {
    const std::int64_t count = (rows - row + groups - 1) / groups;
    with_number<kTogether>(count, [&](auto number) { one(number, row); });
    row += count, --groups;
  }
}

// Panels one after another for `one`, back and forth: what was used last is still in the cache.
template <int N, class One>
inline void over_panels(std::int64_t first, std::int64_t last, bool backwards, One one) {
  const std::int64_t groups = rounded_up(last - first, N) / N;
  for (std::int64_t group = 0; group < groups; ++group) {
    const std::int64_t panel = first + (backwards ? groups - 1 - group : group) * N;
    const std::int64_t count = last - panel < N ? last - panel : N;
    with_number<N>(count, [&](auto number) { one(number, panel); });
  }
}

// One stream's step in a layer: the panels that are a share of it.
template <class P>
void advance_share(void* data, int share) {
  auto& block = *static_cast<Block<P>*>(data);
  const std::int64_t panels = block.model.panels, shares = block.team.shares;
  over_panels<kPanelsAlone>(panels * share / shares, panels * (share + 1) / shares, block.backwards,
                            [&](auto n, std::int64_t panel) {
                              step<P, 1, decltype(n)::value>(block, block.layer, panel, 0);
                            });
}

// The first `rows` streams read their tokens.
template <class P>
void advance(Block<P>& block, std::int64_t rows) {
  const auto& model = block.model;
  for (std::int64_t layer = 0; layer < model.layers; ++layer) {
    block.layer = layer;
    if (rows == 1 && block.team.shares > 1) {
      lead(block.team);
    } else if (rows == 1) {
      advance_share<P>(&block, 0);
    } else {
      over_panels<1>(0, model.panels, block.backwards, [&](auto, std::int64_t panel) {
        in_groups(rows, [&](auto m, std::int64_t row) {
          step<P, decltype(m)::value, 1>(block, layer, panel, row);
        });
      });
    }
  }
  block.now = 1 - block.now;
  block.backwards = !block.backwards;
}

template <class P, int M, int N>
void head(const Block<P>& block, const typename P::Input* tops, std::int64_t panel,
          std::int64_t row) {
  const auto& model = block.model;
  typename P::Sums sums[M][N * kWide];
  multiply<P, M, N>(model.head, panel, {{tops, tops}, model.units()}, row, sums);
  for (int m = 0; m < M; ++m)
    for (int n = 0; n < N * kWide; ++n) {
      const std::int64_t column = panel * kColumns + n * kLanes;
      store(block.logits + (row + m) * model.characters() + column,
            finished(model.head, sums[m][n], column) + load(model.head_bias + column));
    }
}

// The logits of the characters to come, of so many states of the last layer.
template <class P>
void take_logits(const Block<P>& block, const typename P::Input* tops, std::int64_t rows) {
  const std::int64_t panels = block.model.head_panels;
  if (rows == 1) {
    over_panels<kPanelsAlone>(0, panels, false, [&](auto n, std::int64_t panel) {
      head<P, 1, decltype(n)::value>(block, tops, panel, 0);
    });
  } else {
    over_panels<1>(0, panels, false, [&](auto, std::int64_t panel) {
      in_groups(rows, [&](auto m, std::int64_t row) {
        head<P, decltype(m)::value, 1>(block, tops, panel, row);
      });
    });
  }
}

// ---- Reading

// exp(inverse * below), below <= 0; what would weigh less than float32 holds weighs nothing.
inline Floats weight(Floats below, Floats inverse) {
  const Floats exponent = below * inverse * kLog2E;
  return as_floats(bits(power_of_two(limited(exponent, 0.0f)).value()) & (exponent > kLowest));
}

// Turns logits into weights; the largest logit, whose weight is 1.
inline float soften(float* logits, std::int64_t characters, float inverse) {
  Floats most = load(logits);
  for (std::int64_t at = kLanes; at < characters; at += kLanes)
    most = larger(most, load(logits + at));
  const float largest_logit = largest(most);
  for (std::int64_t at = 0; at < characters; at += kLanes)
    store(logits + at, weight(load(logits + at) - largest_logit, all(inverse)));
  return largest_logit;
}

template <class P>
void score_waiting(Block<P>& block) {
  const auto& model = block.model;
  const std::int64_t characters = model.characters();
  take_logits(block, block.tops, block.waiting);
  for (std::int64_t row = 0; row < block.waiting; ++row) {
    float* logits = block.logits + row * characters;
    const std::int64_t place = block.scored[row];
    const float logit = logits[block.call.prompt_at(place)];
    float* every = block.call.log_probabilities;
    if (every) {
      every += place * model.vocabulary;
      std::memcpy(every, logits, static_cast<std::size_t>(model.vocabulary) * sizeof *every);
    }
    const float most = soften(logits, characters, 1.0f);
    Floats total{};
    for (std::int64_t at = 0; at < characters; at += kLanes) total += load(logits + at);
    const float whole = __builtin_logf(sum(total));
    block.call.log_probability[place] = logit - most - whole;
    for (std::int64_t id = 0; every && id < model.vocabulary; ++id)
      every[id] = every[id] - most - whole;
  }
  block.waiting = 0;
}

template <class P>
void score_later(Block<P>& block, std::int64_t row, std::int64_t place) {
  const std::int64_t units = block.units();
  std::memcpy(block.tops + block.waiting * units, block.top(row),
              static_cast<std::size_t>(units) * sizeof(typename P::Input));
  block.scored[block.waiting++] = place;
}

// Rows that have read all they should stay as they are, on both sides.
template <class P>
void settle(Block<P>& block, std::int64_t first, std::int64_t last) {
  const auto count = static_cast<std::size_t>((last - first) * block.units());
  for (std::int64_t layer = 0; layer < block.model.layers; ++layer) {
    const std::int64_t at = (layer * block.rows + first) * block.units();
    const int now = block.now, next = 1 - now;
    std::memcpy(block.h[next] + at, block.h[now] + at, count * sizeof(float));
    if (sizeof(typename P::Input) != sizeof(float))
      std::memcpy(block.x[next] + at, block.x[now] + at, count * sizeof(typename P::Input));
  }
}

template <class P>
void read(Block<P>& block) {
  const Call& call = block.call;
  const std::int64_t most = block.rows > kRows ? block.rows : kRows;
  std::int64_t reading = block.rows;
  for (std::int64_t time = 0; time < call.time && reading > 0; ++time) {
    // An id that follows on the last that is read is scored, too.
    if (call.scored) {
      if (block.waiting + reading > most) score_waiting(block);
      for (std::int64_t row = 0; row < reading; ++row)
        score_later(block, row, block.stream[row] * call.time + time);
    }
    const std::int64_t before = reading;
    while (reading > 0 && call.lengths[block.stream[reading - 1]] <= time) --reading;
    if (reading < before) settle(block, reading, before);
    for (std::int64_t row = 0; row < reading; ++row)
      block.tokens[row] = call.prompt_at(block.stream[row] * call.time + time);
    if (reading > 0) advance(block, reading);
  }
  if (block.waiting > 0) score_waiting(block);
}

// ---- Drawing

// The weights of up to kAbreast rows become their running sums, which go on side by side.
constexpr int kAbreast = 4;
template <int N>
inline void run_sums(float* weights, std::int64_t stride, std::int64_t vocabulary) {
  float sums[N] = {};
  for (std::int64_t at = 0; at < vocabulary; ++at)
    unrolled<N>([&](auto n) CHARLM_LAMBDA {
      float& weight = weights[n.value * stride + at];
      weight = sums[n.value] += weight;
    });
  for (std::int64_t at = vocabulary; at < stride; ++at)
    for (int n = 0; n < N; ++n) weights[n * stride + at] = sums[n];
}

// The first character whose running sum reaches u of the last.
inline std::int32_t find(const float* sums, std::int64_t characters, std::int64_t vocabulary,
                         float u) {
  const float bound = u * sums[vocabulary - 1];
  Ints below{};
  for (std::int64_t at = 0; at < characters; at += kLanes) below -= load(sums + at) < bound;
  const std::int32_t found = sum(below);
  return found < vocabulary ? found : static_cast<std::int32_t>(vocabulary - 1);
}

template <class P>
inline float next_uniform(Block<P>& block, std::int64_t row) {
  const float u = block.random[row].next();
  return block.inverse[row] < kGreedy ? u : kGreedyUniform;
}

// The next character of up to kAbreast rows, of which any may have filters.
template <class P>
void draw_few(Block<P>& block, std::int64_t row, std::int64_t count) {
  const Call& call = block.call;
  const std::int64_t characters = block.model.characters(), vocabulary = block.model.vocabulary;
  float* weights = block.logits + row * characters;
  float u[kAbreast];
  for (std::int64_t n = 0; n < count; ++n) {
    const std::int64_t stream = block.stream[row + n];
    soften(weights + n * characters, characters, block.inverse[row + n]);
    u[n] = next_uniform(block, row + n);
    if (block.filtered[row + n]) {
      charlm::remove_filtered(weights + n * characters, vocabulary, call.top_k[stream],
                              call.top_p[stream], call.min_p[stream], block.keys);
    }
  }
  with_number<kAbreast>(
      count, [&](auto n) { run_sums<decltype(n)::value>(weights, characters, vocabulary); });
  for (std::int64_t n = 0; n < count; ++n)
    block.tokens[row + n] = find(weights + n * characters, characters, vocabulary, u[n]);
}

// The same of kLanes rows without filters, a lane each.
template <class P>
void draw_many(Block<P>& block, std::int64_t row) {
  const std::int64_t characters = block.model.characters(), vocabulary = block.model.vocabulary;
  Floats most = all(-__builtin_inff());
  for (std::int64_t at = 0; at < characters; at += kLanes) {
    Floats square[kLanes];
    for (int lane = 0; lane < kLanes; ++lane)
      square[lane] = load(block.logits + (row + lane) * characters + at);
    transpose(square);
    for (int lane = 0; lane < kLanes; ++lane) {
      most = larger(most, square[lane]);
      store(block.turned + (at + lane) * kLanes, square[lane]);
    }
  }
  float u[kLanes];
  for (int lane = 0; lane < kLanes; ++lane) u[lane] = next_uniform(block, row + lane);
  const Floats inverse = load(block.inverse + row);
  Floats sums{};
  for (std::int64_t id = 0; id < vocabulary; ++id) {
    sums += weight(load(block.turned + id * kLanes) - most, inverse);
    store(block.turned + id * kLanes, sums);
  }
  const Floats bound = load(u) * sums;
  Ints found{};
  for (std::int64_t id = 0; id < vocabulary - 1; ++id)
    found -= load(block.turned + id * kLanes) < bound;
  std::memcpy(block.tokens + row, &found, sizeof found);
}

template <class P>
void draw(Block<P>& block) {
  std::int64_t row = 0;
  for (; row + kLanes <= block.rows; row += kLanes) {
    bool any = false;
    for (int lane = 0; lane < kLanes; ++lane) any = any || block.filtered[row + lane];
    if (any) {
      for (int lane = 0; lane < kLanes; lane += kAbreast) draw_few(block, row + lane, kAbreast);
    } else {
      draw_many(block, row);
    }
  }
  for (; row < block.rows; row += kAbreast)
    draw_few(block, row, block.rows - row < kAbreast ? block.rows - row : kAbreast);
}

// ---- A run

template <class P>
void begin(Block<P>& block) {
  const Call& call = block.call;
  const auto& model = block.model;
  for (std::int64_t row = 0; row < block.rows; ++row) {
    const std::int64_t stream = block.first + row;
    std::int64_t at = row;  // the longest prompt first
    for (; at > 0 && call.lengths[block.stream[at - 1]] < call.lengths[stream]; --at)
      block.stream[at] = block.stream[at - 1];
    block.stream[at] = stream;
  }
  for (std::int64_t row = 0; row < block.rows; ++row) {
    const std::int64_t stream = block.stream[row];
    const std::int64_t read = stream * call.time + call.lengths[stream] + 1;
    const std::int64_t rest = (stream + 1) * call.time - read;  // nothing is read there
    const auto zero = [&](float* each, std::int64_t width) {
      if (each && rest > 0)
        std::memset(each + read * width, 0, static_cast<std::size_t>(rest * width) * sizeof *each);
    };
    zero(call.scored ? call.log_probability : nullptr, 1);
    zero(call.log_probabilities, model.vocabulary);
    block.random[row].begin(call.seed[stream], call.stream[stream], call.position[stream]);
    block.inverse[row] = call.inverse_temperature[stream];
    block.filtered[row] =
        block.inverse[row] < kGreedy &&
        (call.top_k[stream] < model.vocabulary || call.top_p[stream] < 1 || call.min_p[stream] > 0);
    for (std::int64_t layer = 0; layer < model.layers; ++layer) {
      const std::int64_t from = (stream * model.layers + layer) * model.hidden;
      const std::int64_t to = (layer * block.rows + row) * model.units();
      for (std::int64_t unit = 0; unit < model.units(); unit += kLanes) {
        float h[kLanes] = {}, c[kLanes] = {};
        for (std::int64_t lane = 0; lane < kLanes && unit + lane < model.hidden; ++lane) {
          h[lane] = call.h[from + unit + lane];
          c[lane] = call.c[from + unit + lane];
        }
        store(block.h[0] + to + unit, load(h));
        store(block.c + to + unit, load(c));
        keep_input(block.x[0] + to + unit, smaller(larger(load(h), all(-1.0f)), all(1.0f)));
      }
    }
  }
}

inline bool finite(const float* values, std::int64_t count) {
  float rest = 0;
  for (std::int64_t at = 0; at < count; ++at) rest += values[at] - values[at];
  return rest == 0;
}

template <class P>
Outcome end(Block<P>& block) {
  const Call& call = block.call;
  const auto& model = block.model;
  bool good = true;
  take_logits(block, block.top(), block.rows);
  for (std::int64_t row = 0; row < block.rows; ++row) {
    const std::int64_t stream = block.stream[row];
    float* logits = call.logits + stream * model.vocabulary;
    std::memcpy(logits, block.logits + row * model.characters(),
                static_cast<std::size_t>(model.vocabulary) * sizeof(float));
    good = good && finite(logits, model.vocabulary);
    for (std::int64_t layer = 0; layer < model.layers; ++layer) {
      const std::int64_t to = (stream * model.layers + layer) * model.hidden;
      const auto size = static_cast<std::size_t>(model.hidden) * sizeof(float);
      std::memcpy(call.h_next + to, block.state(block.h[block.now], layer, row), size);
      std::memcpy(call.c_next + to, block.state(block.c, layer, row), size);
      good =
          good && finite(call.h_next + to, model.hidden) && finite(call.c_next + to, model.hidden);
    }
  }
  return good ? Outcome::done : Outcome::not_finite;
}

template <class P>
Outcome run_block(const charlm::Model& model, const Call& call, std::int64_t first,
                  std::int64_t count, Team& team) {
  Block<P> block(static_cast<const Packed<P>&>(model), call, count, first, team);
  Arena counting(nullptr);
  place(block, counting);
  void* memory = take_memory(counting.used());
  if (!memory) {
    write_now(team.phase, std::int64_t{-1});
    return Outcome::no_memory;
  }
  Arena arena(static_cast<char*>(memory));
  place(block, arena);
  begin(block);
  team.block = &block, team.work = advance_share<P>;
  read(block);
  for (std::int64_t step = 0; step < call.steps; ++step) {
    take_logits(block, block.top(), count);
    draw(block);
    for (std::int64_t row = 0; row < count; ++row)
      call.give(block.stream[row] * call.steps + step, block.tokens[row]);
    advance(block, count);
  }
  write_now(team.phase, std::int64_t{-1});
  const Outcome outcome = end(block);
  give_back(memory);
  return outcome;
}

charlm::Model* pack_any(const Weights& weights, Precision precision) noexcept {
  return precision == Precision::int8 ? pack<Int8>(weights, precision)
                                      : pack<Float32>(weights, precision);
}

void release(charlm::Model* model) noexcept {
  if (model) give_back(model->memory);
}

Outcome run(const charlm::Model& model, const Call& call, std::int64_t first, std::int64_t count,
            Team& team) noexcept {
  return model.precision == Precision::int8 ? run_block<Int8>(model, call, first, count, team)
                                            : run_block<Float32>(model, call, first, count, team);
}

}  // namespace

#define CHARLM_JOIN_(a, b) a##b
#define CHARLM_JOIN(a, b) CHARLM_JOIN_(a, b)
#define CHARLM_TEXT_(a) #a
#define CHARLM_TEXT(a) CHARLM_TEXT_(a)

namespace charlm {
extern const InstructionSet CHARLM_JOIN(instructions_, CHARLM_ISA);
const InstructionSet CHARLM_JOIN(instructions_, CHARLM_ISA) = {CHARLM_TEXT(CHARLM_ISA), pack_any,
                                                               release, run};
}  // namespace charlm
