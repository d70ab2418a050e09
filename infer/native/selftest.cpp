// A program that tests each instruction set of this machine on random shapes, built with
// sanitizers.
//
// What it holds them to: plain loops in double precision; themselves, at other batch sizes and
// cuts, to the bit; and in int8 exact sums, to the bit on all of them.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "cpu/isa.h"
#include "model.h"

namespace {

using namespace charlm;
using Floats = std::vector<float>;
using std::int64_t;
using std::size_t;

std::mt19937_64 random_bits(20260101);

int64_t whole(int64_t least, int64_t most) {
  return std::uniform_int_distribution<int64_t>(least, most)(random_bits);
}
Floats normal(int64_t count, float scale) {
  std::normal_distribution<float> numbers(0, scale);
  Floats made(static_cast<size_t>(count));
  for (float& each : made) each = numbers(random_bits);
  return made;
}

int failures = 0;
void expect(bool good, const char* instructions, const std::string& what) {
  if (good) return;
  ++failures;
  std::printf("%s: %s\n", instructions, what.c_str());
}
bool equal(const Floats& a, const Floats& b) {
  return a.size() == b.size() &&
         (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0);
}
// As far as float32 may be from double: an error of the size of a tensor's largest number.
bool near(const Floats& found, const std::vector<double>& wanted, double tolerance) {
  double most = 1;
  for (double each : wanted) most = std::max(most, std::fabs(each));
  for (size_t at = 0; at < wanted.size(); ++at)
    if (!(std::fabs(found[at] - wanted[at]) <= tolerance * most)) return false;
  return true;
}

struct Case {
  int64_t vocabulary, hidden, layers, streams, time, steps;
  Floats table, recurrent, upper, upper_bias, head, head_bias, h, c;
  std::vector<std::int32_t> prompt;
  std::vector<int64_t> lengths, top_k;
  std::vector<std::uint64_t> seed, stream, position;
  Floats inverse, top_p, min_p;

  Case(int64_t most_vocabulary, int64_t most_hidden, int64_t most_streams) {
    vocabulary = whole(1, most_vocabulary), hidden = whole(1, most_hidden), layers = whole(1, 3);
    streams = whole(1, most_streams), time = whole(0, 9), steps = whole(0, 9);
    const int64_t gates = 4 * hidden, upper_layers = layers - 1;
    const float scale = 2 / std::sqrt(static_cast<float>(hidden));
    table = normal(vocabulary * gates, 1), recurrent = normal(hidden * gates, scale);
    upper = normal(upper_layers * 2 * hidden * gates, scale);
    upper_bias = normal(upper_layers * gates, 1);
    head = normal(hidden * vocabulary, 3 * scale), head_bias = normal(vocabulary, 1);
    h = normal(streams * layers * hidden, 0.5f), c = normal(streams * layers * hidden, 2);
    for (float& each : h) each = std::tanh(each);
    for (int64_t at = 0; at < streams * time; ++at)
      prompt.push_back(static_cast<std::int32_t>(whole(0, vocabulary - 1)));
    for (int64_t row = 0; row < streams; ++row) {
      lengths.push_back(whole(0, time));
      seed.push_back(random_bits()), stream.push_back(random_bits());
      position.push_back(static_cast<std::uint64_t>(whole(0, 1000)));
      const float temperatures[] = {1, 0x1p100f, 2, 0.5f};
      inverse.push_back(temperatures[whole(0, 3)]);
      const bool filtered = whole(0, 2) == 0;
      top_k.push_back(filtered ? whole(1, vocabulary + 1) : vocabulary);
      top_p.push_back(filtered ? 0.7f : 2.0f), min_p.push_back(filtered ? 0.01f : 0.0f);
    }
  }
  Weights weights() const {
    return {vocabulary,        hidden,           layers,
            table.data(),      recurrent.data(), upper.data(),
            upper_bias.data(), head.data(),      head_bias.data()};
  }
};

struct Result {
  std::vector<std::int32_t> tokens;
  Floats log_probability, log_probabilities, logits, h, c;
  Outcome outcome = Outcome::done;
  bool operator==(const Result& other) const {
    return tokens == other.tokens && equal(log_probability, other.log_probability) &&
           equal(log_probabilities, other.log_probabilities) && equal(logits, other.logits) &&
           equal(h, other.h) && equal(c, other.c);
  }
};

// Runs streams [first, first + count) of a case, in blocks of at most `block`.
Result run(const InstructionSet& set, const Model& model, const Case& given, int64_t first,
           int64_t count, int64_t block, bool scored = true, Team* team = nullptr) {
  const int64_t units = given.layers * given.hidden;
  Result found;
  found.tokens.resize(static_cast<size_t>(count * given.steps));
  found.log_probability.resize(static_cast<size_t>(scored ? count * given.time : 0));
  found.log_probabilities.resize(found.log_probability.size() *
                                 static_cast<size_t>(given.vocabulary));
  found.logits.resize(static_cast<size_t>(count * given.vocabulary));
  found.h.resize(static_cast<size_t>(count * units)), found.c.resize(found.h.size());
  const Call call{count,
                  given.time,
                  given.steps,
                  scored,
                  given.h.data() + first * units,
                  given.c.data() + first * units,
                  sizeof(std::int32_t),
                  given.prompt.data() + first * given.time,
                  given.lengths.data() + first,
                  given.seed.data() + first,
                  given.stream.data() + first,
                  given.position.data() + first,
                  given.inverse.data() + first,
                  given.top_p.data() + first,
                  given.min_p.data() + first,
                  given.top_k.data() + first,
                  found.tokens.data(),
                  found.log_probability.data(),
                  scored ? found.log_probabilities.data() : nullptr,
                  found.logits.data(),
                  found.h.data(),
                  found.c.data()};
  for (int64_t at = 0; at < count; at += block) {
    Team alone;
    const Outcome outcome =
        set.run(model, call, at, std::min(block, count - at), team ? *team : alone);
    if (outcome != Outcome::done) found.outcome = outcome;
  }
  return found;
}

template <class T>
std::vector<T> rows(const std::vector<T>& of, int64_t first, int64_t count, int64_t width) {
  return {of.begin() + first * width, of.begin() + (first + count) * width};
}

Result part(const Result& of, const Case& given, int64_t first, int64_t count) {
  const int64_t units = given.layers * given.hidden;
  Result found;
  found.tokens = rows(of.tokens, first, count, given.steps);
  found.log_probability = rows(of.log_probability, first, count, given.time);
  found.log_probabilities = rows(of.log_probabilities, first, count, given.time * given.vocabulary);
  found.logits = rows(of.logits, first, count, given.vocabulary);
  found.h = rows(of.h, first, count, units), found.c = rows(of.c, first, count, units);
  return found;
}

// One stream in plain loops: what it should read and score, and its state after what it drew.
struct Plain {
  const Case& given;
  std::vector<double> h, c;

  double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }
  void step(int64_t token) {
    const int64_t hidden = given.hidden, gates = 4 * hidden;
    for (int64_t layer = 0; layer < given.layers; ++layer) {
      std::vector<double> sums(static_cast<size_t>(gates));
      for (int64_t at = 0; at < gates; ++at) {
        double sum = layer == 0 ? given.table[static_cast<size_t>(token * gates + at)]
                                : given.upper_bias[static_cast<size_t>((layer - 1) * gates + at)];
        const int64_t inputs = layer == 0 ? hidden : 2 * hidden;
        for (int64_t row = 0; row < inputs; ++row) {
          const int64_t from = layer == 0 ? row : (layer - 1) * hidden + row;
          const size_t weight = static_cast<size_t>(
              layer == 0 ? row * gates + at : ((layer - 1) * inputs + row) * gates + at);
          sum += h[static_cast<size_t>(from)] *
                 (layer == 0 ? given.recurrent[weight] : given.upper[weight]);
        }
        sums[static_cast<size_t>(at)] = sum;
      }
      for (int64_t unit = 0; unit < hidden; ++unit) {
        const size_t at = static_cast<size_t>(layer * hidden + unit);
        const auto gate = [&](int64_t g) { return sums[static_cast<size_t>(g * hidden + unit)]; };
        c[at] = sigmoid(gate(2)) * c[at] + sigmoid(gate(0)) * std::tanh(gate(3));
        h[at] = sigmoid(gate(1)) * std::tanh(c[at]);
      }
    }
  }
  std::vector<double> logits() const {
    std::vector<double> found(given.head_bias.begin(), given.head_bias.end());
    for (int64_t unit = 0; unit < given.hidden; ++unit)
      for (int64_t id = 0; id < given.vocabulary; ++id)
        found[static_cast<size_t>(id)] +=
            h[static_cast<size_t>((given.layers - 1) * given.hidden + unit)] *
            given.head[static_cast<size_t>(unit * given.vocabulary + id)];
    return found;
  }
  std::vector<double> log_probabilities() const {
    std::vector<double> all = logits();
    double most = all[0], sum = 0;
    for (double each : all) most = std::max(most, each);
    for (double each : all) sum += std::exp(each - most);
    for (double& each : all) each -= most + std::log(sum);
    return all;
  }
};

void check_float32(const InstructionSet& set, const Case& given) {
  Model* model = set.pack(given.weights(), Precision::float32);
  const Result all = run(set, *model, given, 0, given.streams, kBlock);
  const int64_t units = given.layers * given.hidden;
  expect(all.outcome == Outcome::done, set.name, "float32 is not finite");
  for (int64_t stream = 0; stream < given.streams; ++stream) {
    Plain plain{given, {}, {}};
    for (int64_t at = stream * units; at < (stream + 1) * units; ++at) {
      plain.h.push_back(given.h[static_cast<size_t>(at)]);
      plain.c.push_back(given.c[static_cast<size_t>(at)]);
    }
    const size_t start = static_cast<size_t>(stream * given.time);
    const size_t characters = static_cast<size_t>(given.vocabulary);
    std::vector<double> scores(static_cast<size_t>(given.time) * characters, 0.0);
    const Result own = part(all, given, stream, 1);
    bool chosen = true;
    for (int64_t at = 0; at < given.time; ++at) {
      const int64_t id = given.prompt[start + static_cast<size_t>(at)];
      const int64_t length = given.lengths[static_cast<size_t>(stream)];
      const size_t row = static_cast<size_t>(at) * characters;
      const float due = at <= length ? own.log_probabilities[row + static_cast<size_t>(id)] : 0;
      chosen = chosen && own.log_probability[static_cast<size_t>(at)] == due;
      if (at <= length) {
        const std::vector<double> wanted = plain.log_probabilities();
        std::copy(wanted.begin(), wanted.end(), scores.begin() + static_cast<long>(row));
      }
      if (at < length) plain.step(id);
    }
    for (int64_t at = 0; at < given.steps; ++at)
      plain.step(all.tokens[static_cast<size_t>(stream * given.steps + at)]);
    expect(near(own.log_probabilities, scores, 1e-4), set.name, "log-probabilities");
    expect(chosen, set.name, "the log-probability of what followed");
    expect(near(own.h, plain.h, 1e-4) && near(own.c, plain.c, 1e-4), set.name, "the state");
    expect(near(own.logits, plain.logits(), 1e-3), set.name, "logits");
  }
  set.release(model);
}

// A stream's numbers are its own: whatever runs beside it, and however its steps are cut.
void check_alike(const InstructionSet& set, const Case& given, Precision precision) {
  Model* model = set.pack(given.weights(), precision);
  const Result all = run(set, *model, given, 0, given.streams, kBlock);
  for (int64_t block : {int64_t{1}, int64_t{2}, int64_t{7}})
    expect(run(set, *model, given, 0, given.streams, block) == all, set.name, "another batch");
  const int64_t first = whole(0, given.streams - 1), count = whole(1, given.streams - first);
  expect(run(set, *model, given, first, count, kBlock) == part(all, given, first, count), set.name,
         "some of the streams");
  Case early = given, late = given;
  early.steps = whole(0, given.steps), late.steps = given.steps - early.steps, late.time = 0;
  const Result before = run(set, *model, early, 0, given.streams, kBlock);
  late.h = before.h, late.c = before.c;
  std::fill(late.lengths.begin(), late.lengths.end(), 0);
  for (std::uint64_t& each : late.position) each += static_cast<std::uint64_t>(early.steps);
  const Result after = run(set, *model, late, 0, given.streams, kBlock);
  bool same = equal(after.h, all.h) && equal(after.c, all.c) && equal(after.logits, all.logits);
  for (int64_t stream = 0; stream < given.streams; ++stream) {
    std::vector<std::int32_t> joined = rows(before.tokens, stream, 1, early.steps);
    for (std::int32_t each : rows(after.tokens, stream, 1, late.steps)) joined.push_back(each);
    same = same && joined == rows(all.tokens, stream, 1, given.steps);
  }
  expect(same, set.name, "steps in two runs");
  for (std::int32_t token : all.tokens)
    expect(token >= 0 && token < given.vocabulary, set.name, "a token past the vocabulary");
  set.release(model);
}

// Threads that share one stream's steps, some of which may never come.
void check_team(const InstructionSet& set, const Case& given, Precision precision) {
  Model* model = set.pack(given.weights(), precision);
  const Result wanted = run(set, *model, given, 0, 1, 1);
  const int shares = static_cast<int>(whole(2, 4)), here = static_cast<int>(whole(1, shares));
  Team team;
  team.shares = shares;
  std::vector<std::thread> helpers;
  for (int share = 1; share < here; ++share)
    helpers.emplace_back([&team, share] { help(team, share); });
  const Result found = run(set, *model, given, 0, 1, 1, true, &team);
  for (std::thread& helper : helpers) helper.join();
  expect(found == wanted, set.name, "a team");
  set.release(model);
}

// int8: without a bias, a logit is its sum times its column's scale, and nothing else.
void check_int8(const InstructionSet& set, Case given) {
  given.steps = given.time = 0;
  std::fill(given.lengths.begin(), given.lengths.end(), 0);
  std::fill(given.head_bias.begin(), given.head_bias.end(), 0.0f);
  Model* model = set.pack(given.weights(), Precision::int8);
  const Result found = run(set, *model, given, 0, given.streams, kBlock);
  for (int64_t id = 0; id < given.vocabulary; ++id) {
    const auto weight = [&](int64_t unit) {
      return given.head[static_cast<size_t>(unit * given.vocabulary + id)];
    };
    float most = 0;
    for (int64_t unit = 0; unit < given.hidden; ++unit)
      most = std::max(most, std::fabs(weight(unit)));
    const float step = most > 0 ? most / 127 : 1;
    for (int64_t stream = 0; stream < given.streams; ++stream) {
      std::int32_t sum = 0;
      for (int64_t unit = 0; unit < given.hidden; ++unit) {
        const int64_t at = (stream * given.layers + given.layers - 1) * given.hidden + unit;
        sum += static_cast<std::int32_t>(std::nearbyint(weight(unit) / step)) *
               static_cast<std::int32_t>(std::nearbyint(given.h[static_cast<size_t>(at)] * 127.0f));
      }
      const float wanted = static_cast<float>(sum) * (step / 127);
      expect(found.logits[static_cast<size_t>(stream * given.vocabulary + id)] == wanted, set.name,
             "an int8 sum");
    }
  }
  set.release(model);
}

// Weights at which float32 overflows: an outcome, and nothing worse.
void check_overflow(const InstructionSet& set, Case given) {
  for (float& each : given.head) each *= 1e36f;
  for (float& each : given.table) each *= 1e36f;
  for (Precision precision : {Precision::float32, Precision::int8}) {
    Model* model = set.pack(given.weights(), precision);
    const Result found = run(set, *model, given, 0, given.streams, kBlock);
    for (std::int32_t token : found.tokens)
      expect(token >= 0 && token < given.vocabulary, set.name, "a token past the vocabulary");
    set.release(model);
  }
}

}  // namespace

int main(int count, char** arguments) {
  const int rounds = count > 1 ? std::atoi(arguments[1]) : 20;
  int sets = 0;
  each_instruction_set([&](const Available& each) {
    if (!each.here) return false;
    ++sets;
    random_bits.seed(1);
    for (int round = 0; round < rounds; ++round) {
      const Case given(round % 4 == 0 ? 300 : 70, round % 5 == 0 ? 130 : 40,
                       round % 3 == 0 ? 60 : 12);
      check_float32(*each.instructions, given);
      check_alike(*each.instructions, given, Precision::float32);
      check_alike(*each.instructions, given, Precision::int8);
      check_int8(*each.instructions, given);
      check_team(*each.instructions, given, Precision::float32);
      check_team(*each.instructions, given, Precision::int8);
      check_overflow(*each.instructions, given);
    }
    std::printf("%s tested\n", each.instructions->name);
    return false;
  });
  std::printf("%d instruction sets, %d failures\n", sets, failures);
  return failures == 0 && sets > 0 ? 0 : 1;
}
