#include "shapes.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace charlm_gpu {
namespace {

constexpr int kHeldNumbers = 64;    // of logits, of each of a lane's two streams, in registers
constexpr int kPassingTable = 128;  // characters up to which a table passes by with the weights
constexpr int kSmallestChunk = 3;   // with a table; less is slower than a table from outside
constexpr int kStreamsWorth = 64;   // of a block; fewer are slower, however the weights pass by

// Where weights stay.
constexpr int kStayingArchitecture = 90;  // whose warps multiply together by the fours
constexpr int kRegisters = 255;           // of a thread, at most
constexpr int kOtherRegisters = 64;       // beside state, sums and logits

// Blocks of 8 warps. Where fp16 alone is multiplied, a warp of two tiles reads weights half as
// often.
Shape dealt(const charlm::Weights& weights, int parts, int streams) {
  Shape shape{};
  shape.units = static_cast<int>(weights.hidden), shape.layers = static_cast<int>(weights.layers);
  shape.vocabulary = static_cast<int>(weights.vocabulary), shape.parts = parts;
  shape.tiles = parts == 1 && streams >= 64 ? 2 : 1;
  shape.row_warps = streams / 16 / shape.tiles;
  shape.column_warps = 8 / shape.row_warps;
  shape.logits_held = shape.own() * parts <= kHeldNumbers;
  const int most = shape.logits_held ? shape.column_warps : std::min(2, shape.column_warps);
  for (int count = 1; count <= most; ++count)
    if (shape.character_groups() % count == 0) shape.head_groups = count;
  return shape;
}

// With the longest chunks for which there is room; false where there is none.
bool fit(Shape& shape, bool table_shared, int smallest, int shared_bytes) {
  shape.table_shared = table_shared;
  for (shape.chunk = shape.depth(); shape.chunk >= smallest; --shape.chunk)
    if (shape.depth() % shape.chunk == 0 && shape.shared() <= shared_bytes / 16) return true;
  return false;
}

std::uint16_t half_of(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  const auto sign = static_cast<std::uint16_t>(bits >> 16 & 0x8000);
  const float size = std::fabs(value);
  if (!(size < 65520)) return sign | (size == size ? 0x7C00 : 0x7E00);
  int exponent = -13;  // of those below 2^-14, too
  if (size >= 0x1p-14f) std::frexp(size, &exponent);
  const float unit = std::ldexp(1.0f, exponent - 11);
  const auto places = static_cast<std::uint32_t>(std::nearbyint(size / unit));  // to 2048
  return sign |
         static_cast<std::uint16_t>(places + (static_cast<std::uint32_t>(exponent + 13) << 10));
}

float float_of(std::uint16_t half) {
  const int exponent = half >> 10 & 31, places = half & 1023;
  const float size = exponent ? std::ldexp(static_cast<float>(places + 1024), exponent - 25)
                              : std::ldexp(static_cast<float>(places), -24);
  return half & 0x8000 ? -size : size;
}

// What takes the largest of numbers to about 2^10, so that what fp16 leaves of any is not tiny.
float scale_for(float largest, int parts) {
  if (parts == 1 || !(largest > 0) || !std::isfinite(largest)) return 1;
  int exponent;
  std::frexp(largest, &exponent);
  return std::ldexp(1.0f, std::min(std::max(10 - exponent, -100), 100));
}

// What the kernel wants gates multiplied by: `sigmoid` and `drive` there.
float factor(int gate, int parts) {
  constexpr float log2e = 1.44269504f;
  if (parts == 1) return gate < 3 ? 0.5f : 1.0f;
  return gate < 3 ? -log2e : 2 * log2e;
}

void append_half(std::vector<std::uint8_t>& to, std::uint16_t half) {
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(&half);
  to.insert(to.end(), bytes, bytes + sizeof half);
}
void append(std::vector<std::uint8_t>& to, float value, int parts) {
  if (parts == 1) return append_half(to, half_of(value));
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(&value);
  to.insert(to.end(), bytes, bytes + sizeof value);
}

// Appends 16 rows and 32 columns: number(row, column tile, column) of rows up to 16, 4 tiles of 8;
// as the lanes of a warp hold them, or in order, as a group of warps reads them from shared memory.
template <class Number>
void append_piece(std::vector<std::uint8_t>& to, const Shape& shape, Number number) {
  if (shape.blocks) {
    for (const int rows : {0, 8})
      for (int column = 0; column < 32; ++column)
        for (int row = rows; row < rows + 8; ++row)
          append_half(to, half_of(number(row, column / 8, column % 8)));
    return;
  }
  for (int part = 0; part < shape.parts; ++part)
    for (int pair = 0; pair < 2; ++pair)
      for (int lane = 0; lane < 32; ++lane)
        for (int tile = 2 * pair; tile < 2 * pair + 2; ++tile)
          for (int row : {0, 1, 8, 9}) {
            const float value = number(2 * (lane % 4) + row, tile, lane / 4);
            const std::uint16_t large = half_of(value);
            append_half(to, part == 0 ? large : half_of(value - float_of(large)));
          }
}

float largest_of(const float* values, std::int64_t count) {
  float largest = 0;
  for (std::int64_t at = 0; at < count; ++at) largest = std::max(largest, std::fabs(values[at]));
  return largest;
}

}  // namespace

Shape shape_of(const charlm::Weights& weights, int parts, int streams, int shared_bytes) {
  // A whole round of weights at once costs the fewest meetings: worth more than further streams.
  for (int count = streams; count >= std::min(streams, kStreamsWorth); count /= 2) {
    Shape shape = dealt(weights, parts, count);
    shape.state_shared = true;
    const bool passes = weights.vocabulary <= kPassingTable;
    if (passes && fit(shape, true, shape.depth(), shared_bytes)) return shape;
    if (fit(shape, false, shape.depth(), shared_bytes)) return shape;
  }
  for (int count = streams; count >= 16; count /= 2) {
    Shape shape = dealt(weights, parts, count);
    shape.state_shared = true;
    const bool passes = weights.vocabulary <= kPassingTable;
    if (passes && fit(shape, true, std::min(kSmallestChunk, shape.depth()), shared_bytes))
      return shape;
    if (fit(shape, false, 1, shared_bytes)) return shape;
  }
  Shape shape = dealt(weights, parts, std::min(streams, 64));
  fit(shape, false, 1, shared_bytes);
  return shape;
}

// The fewest blocks that have room, since each has the head. Of 8 warps, since of 12 a thread would
// have 168 registers, and spill state.
Shape persistent_of(const charlm::Weights& weights, int parts, int architecture, int shared_bytes) {
  Shape shape{};
  if (architecture != kStayingArchitecture || parts > 1 || weights.layers > 1) return shape;
  shape.units = static_cast<int>(weights.hidden), shape.layers = 1;
  shape.vocabulary = static_cast<int>(weights.vocabulary), shape.parts = parts;
  shape.tiles = shape.column_warps = shape.head_groups = 1, shape.row_warps = 8;
  shape.state_shared = shape.logits_held = true;
  for (const int blocks : {1, 2, 4}) {
    shape.blocks = blocks, shape.chunk = shape.depth();
    const int state = 4 * (shape.depth() + shape.own_groups() + shape.own_depth());
    const int sums = 16 * std::max(2, shape.character_groups());
    if (state + sums + kOtherRegisters > kRegisters) continue;
    for (const bool table_shared : {true, false}) {
      shape.table_shared = table_shared;
      if (std::int64_t{16} * shape.shared() <= shared_bytes) return shape;
    }
  }
  shape.blocks = 0;
  return shape;
}

// Registers for what every step reads, shared memory for the rest; 8 blocks before 16, which not
// every device has side by side.
Alone alone_of(const charlm::Weights& weights, int parts, int shared_bytes) {
  Alone shape{};
  shape.units = static_cast<int>(weights.hidden), shape.layers = static_cast<int>(weights.layers);
  shape.vocabulary = static_cast<int>(weights.vocabulary), shape.parts = parts;
  for (const int blocks : {8, 16}) {
    shape.blocks = blocks;
    if (shape.threads() > Alone::kThreads || shape.head_slices() == 0) continue;
    shape.recurrent_held = shape.depth() <= Alone::kHeld;
    const int left = Alone::kHeld - (shape.recurrent_held ? shape.depth() : 0);
    shape.head_held = shape.head_depth() <= left;
    for (const bool table_shared : {true, false}) {
      shape.table_shared = table_shared;
      if (std::int64_t{16} * shape.shared() <= shared_bytes) return shape;
    }
  }
  shape.blocks = 0;
  return shape;
}

Packed packed(const charlm::Weights& weights, const Alone& shape) {
  const std::int64_t hidden = weights.hidden, gates = 4 * hidden;
  Packed made{{}, {}, {}, {}, 1, 1};
  // number(row) of a thread's slice, of all threads of a block by turns.
  const auto append_matrix = [&](int depth, int columns, auto number) {
    for (int at = 0; at < depth; ++at)
      for (int thread = 0; thread < shape.threads(); ++thread)
        for (int row = 0; row < shape.piece(); ++row) {
          const int from = (thread / columns * depth + at) * shape.piece() + row;
          append(made.weights, from < hidden ? number(from, thread % columns) : 0.0f, shape.parts);
        }
  };
  // Of a row of all gates those of a block's column; 0 where it has none.
  const auto gate = [&](const float* row, int block, int column) {
    const std::int64_t unit = block * shape.own() + column / 4;
    if (column >= 4 * shape.own() || unit >= hidden) return 0.0f;
    return row[column % 4 * hidden + unit] * factor(column % 4, shape.parts);
  };
  for (int block = 0; block < shape.blocks; ++block) {
    for (int matrix = 0; matrix < shape.matrices(); ++matrix) {
      const float* rows =
          matrix ? weights.upper + (matrix - 1) * hidden * gates : weights.recurrent;
      append_matrix(shape.depth(), shape.columns(),
                    [&](int row, int column) { return gate(rows + row * gates, block, column); });
    }
    for (std::int64_t id = 0; id < weights.vocabulary; ++id)
      for (int column = 0; column < 4 * shape.own(); ++column)
        append(made.table, gate(weights.table + id * gates, block, column), 2);
    for (std::int64_t layer = 0; layer < weights.layers - 1; ++layer)
      for (int column = 0; column < 4 * shape.own(); ++column)
        made.bias.push_back(gate(weights.upper_bias + layer * gates, block, column));
  }
  append_matrix(shape.head_depth(), shape.characters(), [&](int row, int id) {
    return id < weights.vocabulary ? weights.head[row * weights.vocabulary + id] : 0.0f;
  });
  made.head_bias.assign(weights.head_bias, weights.head_bias + weights.vocabulary);
  made.head_bias.resize(static_cast<std::size_t>(shape.characters()));
  return made;
}

Packed packed(const charlm::Weights& weights, const Shape& shape) {
  const std::int64_t hidden = weights.hidden, gates = 4 * hidden;
  const int parts = shape.parts, depth = shape.depth();
  const float largest =
      std::max(largest_of(weights.recurrent, hidden * gates),
               largest_of(weights.upper, (weights.layers - 1) * 2 * hidden * gates));
  const float gate_scale = scale_for(3 * largest, parts);
  const float head_scale = scale_for(largest_of(weights.head, hidden * weights.vocabulary), parts);
  Packed made{{}, {}, {}, {}, 1 / gate_scale, 1 / head_scale};

  // The id of a column of the head: a lane's own follow one another.
  const auto id_of = [&](int group, int tile, int column) {
    return column / 2 * shape.own() + group * 8 + tile * 2 + column % 2;
  };
  for (int round = 0; round < shape.character_groups(); round += shape.head_groups)
    for (int chunk = 0; chunk < depth; chunk += shape.chunk)
      for (int group = round; group < round + shape.head_groups; ++group)
        for (int tile = chunk; tile < chunk + shape.chunk; ++tile)
          append_piece(made.weights, shape, [&](int row, int part, int column) {
            const std::int64_t unit = tile * 16 + row, id = id_of(group, part, column);
            if (unit >= hidden || id >= weights.vocabulary) return 0.0f;
            return weights.head[unit * weights.vocabulary + id] * head_scale;
          });
  made.head_bias.resize(static_cast<std::size_t>(4 * shape.own()));
  for (std::int64_t id = 0; id < weights.vocabulary; ++id)
    made.head_bias[static_cast<std::size_t>(id)] = weights.head_bias[id] * head_scale;

  for (std::int64_t layer = 0; layer < weights.layers; ++layer) {
    const float* matrix =
        layer ? weights.upper + (layer - 1) * 2 * hidden * gates : weights.recurrent;
    for (int round = 0; round < shape.groups(); round += shape.column_warps)
      for (int chunk = 0; chunk < (layer ? 2 * depth : depth); chunk += shape.chunk)
        for (int group = round; group < round + shape.column_warps; ++group)
          for (int tile = chunk; tile < chunk + shape.chunk; ++tile)
            append_piece(made.weights, shape, [&](int row, int gate, int column) {
              const std::int64_t from = tile % depth * 16 + row, unit = group * 8 + column;
              if (from >= hidden || unit >= hidden) return 0.0f;
              const std::int64_t place = (tile / depth * hidden + from) * gates;
              return matrix[place + gate * hidden + unit] * factor(gate, parts) * gate_scale;
            });
  }

  const auto for_each_gate = [&](const float* row, int group, auto&& take) {
    for (int pair = 0; pair < 4; ++pair)
      for (int gate = 0; gate < 4; ++gate)
        for (int unit = group * 8 + 2 * pair; unit < group * 8 + 2 * pair + 2; ++unit)
          take(unit < hidden ? row[gate * hidden + unit] * factor(gate, parts) * gate_scale : 0.0f);
  };
  for (int group = 0; group < shape.groups(); ++group)
    for (std::int64_t id = 0; id < weights.vocabulary; ++id)
      for_each_gate(weights.table + id * gates, group,
                    [&](float value) { append(made.table, value, parts); });
  for (std::int64_t layer = 0; layer < weights.layers - 1; ++layer)
    for (int group = 0; group < shape.groups(); ++group)
      for_each_gate(weights.upper_bias + layer * gates, group,
                    [&](float value) { made.bias.push_back(value); });
  return made;
}

}  // namespace charlm_gpu
