// The operator `charlm.CharLSTM` for ONNX Runtime: reads prompts and draws text, many characters a
// run. `charlm.CharLSTMWide` is the same for vocabularies whose ids have no room in a byte.
//
// Its tensors are those of `export/contract/native.py`. A file from elsewhere is not trusted:
// shapes, sizes, ids and settings are checked here, before anything is touched.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <thread>

#include "cpu/isa.h"
#include "cuda/gpu.h"
#include "model.h"
#include "ort_api.h"

namespace {

using charlm::Call;
using charlm::InstructionSet;
using charlm::Outcome;
using charlm::Precision;
using charlm::Weights;

enum Input {
  kTable,
  kRecurrent,
  kUpper,
  kUpperBias,
  kHead,
  kHeadBias,
  kWeightInputs,
  kH = kWeightInputs,
  kC,
  kPrompt,
  kLengths,
  kScored,
  kSteps,
  kSeed,
  kStream,
  kPosition,
  kInverseTemperature,
  kTopK,
  kTopP,
  kMinP,
  kInputs
};
enum Output { kTokens, kLogProbability, kLogProbabilities, kLogits, kHNext, kCNext, kOutputs };

struct Tensor {
  const char* name;
  OrtTensorType type;
};
constexpr Tensor kInputTensors[kInputs] = {
    {"table", ORT_FLOAT},     {"recurrent", ORT_FLOAT},
    {"upper", ORT_FLOAT},     {"upper_bias", ORT_FLOAT},
    {"head", ORT_FLOAT},      {"head_bias", ORT_FLOAT},
    {"h", ORT_FLOAT},         {"c", ORT_FLOAT},
    {"prompt", ORT_UINT8},    {"lengths", ORT_INT64},
    {"scored", ORT_INT64},    {"steps", ORT_INT64},
    {"seed", ORT_UINT64},     {"stream", ORT_UINT64},
    {"position", ORT_UINT64}, {"inverse_temperature", ORT_FLOAT},
    {"top_k", ORT_INT64},     {"top_p", ORT_FLOAT},
    {"min_p", ORT_FLOAT}};
constexpr OrtTensorType kOutputTypes[kOutputs] = {ORT_UINT8, ORT_FLOAT, ORT_FLOAT,
                                                  ORT_FLOAT, ORT_FLOAT, ORT_FLOAT};

// What the weights' sizes may be: as `export/contract/__init__.py` has them.
constexpr std::int64_t kMostHidden = 1 << 13, kMostLayers = 1 << 8, kMostVocabulary = 0x110000;
constexpr std::int64_t kMostSteps = std::int64_t{1} << 31;
constexpr std::int64_t kEvery = 2;  // of `scored`: the log-probabilities of all characters, too

// Bytes of weights from which a single stream is faster by several threads: those that one core's
// cache does not hold.
constexpr std::int64_t kWorthSharing = 3 << 19, kShare = 1 << 19;

// One failed call of ONNX Runtime, or one wrong input, ends the work; the first is what is told.
class Problem {
 public:
  explicit Problem(const OrtApi& api) : api_(api) {}
  ~Problem() {
    if (status_) api_.release_status(status_);
  }
  bool ok() const { return status_ == nullptr; }
  bool take(OrtStatus* status) {
    if (ok()) {
      status_ = status;
    } else if (status) {
      api_.release_status(status);
    }
    return ok();
  }
  template <class... Arguments>
  bool say(const char* format, Arguments... arguments) {
    char text[200];
    if constexpr (sizeof...(arguments) == 0) {
      std::snprintf(text, sizeof text, "%s", format);
    } else {
      std::snprintf(text, sizeof text, format, arguments...);
    }
    return take(api_.create_status(ORT_INVALID_ARGUMENT, text));
  }
  OrtStatus* released() {
    OrtStatus* status = status_;
    status_ = nullptr;
    return status;
  }

 private:
  const OrtApi& api_;
  OrtStatus* status_ = nullptr;
};

constexpr std::int64_t kAny = -1;  // a size that the tensor may choose

// The data of a tensor, if it has the sizes that are wanted; those that are kAny are filled in.
const void* data_of(const OrtApi& api, const OrtValue* value, const char* name, std::int64_t* sizes,
                    std::size_t rank, Problem& problem) {
  OrtTensorTypeAndShapeInfo* info = nullptr;
  if (!problem.take(api.shape_of(value, &info))) return nullptr;
  std::size_t found = 0;
  std::int64_t shape[8] = {};
  problem.take(api.rank_of(info, &found));
  if (problem.ok() && found != rank) {
    problem.say("CharLSTM: %s has %zu dimensions, not %zu", name, found, rank);
  }
  if (problem.ok()) problem.take(api.sizes_of(info, shape, rank));
  api.release_shape(info);
  for (std::size_t axis = 0; problem.ok() && axis < rank; ++axis) {
    if (sizes[axis] == kAny) sizes[axis] = shape[axis];
    if (sizes[axis] != shape[axis]) {
      problem.say("CharLSTM: dimension %zu of %s is %lld, not %lld", axis, name,
                  static_cast<long long>(shape[axis]), static_cast<long long>(sizes[axis]));
    }
  }
  const void* data = nullptr;
  if (problem.ok()) problem.take(api.data_of(value, &data));
  return data;
}

bool all_finite(const float* values, std::int64_t count) {
  constexpr std::uint32_t kExponent = 0x7F800000;
  std::uint32_t infinite = 0;
  for (std::int64_t at = 0; at < count; ++at) {  // to the end, so that it is done in vectors
    std::uint32_t bits;
    std::memcpy(&bits, values + at, sizeof bits);
    infinite |= (bits & kExponent) == kExponent;
  }
  return infinite == 0;
}

// Taken without a sign: a negative id is past every vocabulary.
template <class Id>
Id largest(const void* prompt, std::int64_t first, std::int64_t count) {
  const Id* ids = static_cast<const Id*>(prompt) + first;
  Id found = 0;
  for (std::int64_t at = 0; at < count; ++at) found = std::max(found, ids[at]);
  return found;
}

// What a session asks of the operator, by the entries of its options.
struct Settings {
  Precision precision = Precision::float32;
  int threads = 1;
  const InstructionSet* instructions = nullptr;  // null: the work is a GPU's
  std::string nvrtc;                             // where NVIDIA's compiler may stand
  bool on_cuda_provider = false;                 // outputs are in the device's memory
  bool wide = false;                             // ids of 4 bytes

  bool operator==(const Settings& other) const {
    return precision == other.precision && threads == other.threads &&
           instructions == other.instructions && nvrtc == other.nvrtc &&
           on_cuda_provider == other.on_cuda_provider && wide == other.wide;
  }
};

// ---- A node of a session: its packed weights

class Kernel {
 public:
  Kernel(const OrtApi& api, const Settings& settings) : api_(api), settings_(settings) {}
  ~Kernel() {
    if (model_) settings_.instructions->release(model_);
  }
  Kernel(const Kernel&) = delete;
  Kernel& operator=(const Kernel&) = delete;
  const OrtApi& api() const { return api_; }

  void pack(const OrtKernelInfo* info, Problem& problem) {
    std::int64_t table[] = {kAny, kAny}, recurrent[] = {kAny, kAny}, upper[] = {kAny, kAny, kAny};
    const auto* table_data = constant(info, kTable, table, 2, problem);
    const auto* recurrent_data = constant(info, kRecurrent, recurrent, 2, problem);
    const auto* upper_data = constant(info, kUpper, upper, 3, problem);
    if (!problem.ok()) return;
    vocabulary_ = table[0], hidden_ = recurrent[0], layers_ = upper[0] + 1;
    const std::int64_t gates = 4 * hidden_;
    if (vocabulary_ < 1 || vocabulary_ > kMostVocabulary || hidden_ < 1 || hidden_ > kMostHidden ||
        layers_ > kMostLayers || table[1] != gates || recurrent[1] != gates ||
        upper[1] != 2 * hidden_ || upper[2] != gates) {
      problem.say("CharLSTM: the sizes of table, recurrent and upper don't fit together");
      return;
    }
    std::int64_t bias[] = {layers_ - 1, gates}, head[] = {hidden_, vocabulary_};
    std::int64_t head_bias[] = {vocabulary_};
    const Weights weights{vocabulary_,
                          hidden_,
                          layers_,
                          table_data,
                          recurrent_data,
                          upper_data,
                          constant(info, kUpperBias, bias, 2, problem),
                          constant(info, kHead, head, 2, problem),
                          constant(info, kHeadBias, head_bias, 1, problem)};
    if (!problem.ok()) return;
    const bool bytes_hold_ids = vocabulary_ <= 256;
    if (!settings_.wide && !bytes_hold_ids) {
      problem.say("CharLSTM: a vocabulary of %lld needs CharLSTMWide",
                  static_cast<long long>(vocabulary_));
      return;
    }
    if (settings_.wide && bytes_hold_ids && !settings_.instructions) {
      problem.say("CharLSTMWide: on a GPU a vocabulary of %lld needs CharLSTM",
                  static_cast<long long>(vocabulary_));
      return;
    }
    if (!settings_.instructions) {
      std::string said;
      gpu_ = charlm_gpu::opened(weights, settings_.precision, settings_.nvrtc, said);
      if (!gpu_) problem.say("CharLSTM: %s", said.c_str());
      return;
    }
    model_ = settings_.instructions->pack(weights, settings_.precision);
    const std::int64_t numbers = gates * hidden_ * (2 * layers_ - 1);
    const std::int64_t bytes = numbers * (settings_.precision == Precision::int8 ? 1 : 4);
    const std::int64_t most = std::min<std::int64_t>(bytes / kShare, charlm::Team::kMost);
    shares_ = bytes > kWorthSharing ? std::min(settings_.threads, static_cast<int>(most)) : 1;
    if (!model_) problem.say("CharLSTM: no memory for its weights");
  }

  void compute(OrtKernelContext* context, Problem& problem) const {
    Call call{};
    std::int64_t state[] = {kAny, layers_, hidden_};
    call.h = input<float>(context, kH, state, 3, problem);
    call.c = input<float>(context, kC, state, 3, problem);
    std::int64_t each[] = {state[0]}, text[] = {state[0], kAny};
    call.id_bytes = settings_.wide ? 4 : 1;
    call.prompt = input<void>(context, kPrompt, text, 2, problem);
    call.lengths = input<std::int64_t>(context, kLengths, each, 1, problem);
    const auto* scored = input<std::int64_t>(context, kScored, nullptr, 0, problem);
    const auto* steps = input<std::int64_t>(context, kSteps, nullptr, 0, problem);
    call.seed = input<std::uint64_t>(context, kSeed, each, 1, problem);
    call.stream = input<std::uint64_t>(context, kStream, each, 1, problem);
    call.position = input<std::uint64_t>(context, kPosition, each, 1, problem);
    call.inverse_temperature = input<float>(context, kInverseTemperature, each, 1, problem);
    call.top_k = input<std::int64_t>(context, kTopK, each, 1, problem);
    call.top_p = input<float>(context, kTopP, each, 1, problem);
    call.min_p = input<float>(context, kMinP, each, 1, problem);
    if (!problem.ok()) return;
    call.streams = state[0], call.time = text[1], call.scored = *scored > 0, call.steps = *steps;
    if (*scored < 0 || *scored > kEvery) {
      problem.say("CharLSTM: scored is %lld, not 0, 1 or 2", static_cast<long long>(*scored));
      return;
    }
    if (!check(call, problem)) return;
    const std::int64_t drawn[] = {call.streams, call.steps};
    const std::int64_t read[] = {call.streams, call.scored ? call.time : 0};
    const std::int64_t every[] = {call.streams, *scored == kEvery ? call.time : 0, vocabulary_};
    const std::int64_t logits[] = {call.streams, vocabulary_};
    call.tokens = output<void>(context, kTokens, drawn, 2, problem);
    call.log_probability = output<float>(context, kLogProbability, read, 2, problem);
    auto* const all = output<float>(context, kLogProbabilities, every, 3, problem);
    if (*scored == kEvery) call.log_probabilities = all;
    call.logits = output<float>(context, kLogits, logits, 2, problem);
    call.h_next = output<float>(context, kHNext, state, 3, problem);
    call.c_next = output<float>(context, kCNext, state, 3, problem);
    if (problem.ok() && call.streams > 0) run(context, call, problem);
  }

 private:
  const float* constant(const OrtKernelInfo* info, Input index, std::int64_t* sizes,
                        std::size_t rank, Problem& problem) const {
    const char* name = kInputTensors[index].name;
    int is_constant = 0;
    const OrtValue* value = nullptr;
    if (!problem.ok() || !problem.take(api_.constant(info, index, &is_constant, &value)))
      return nullptr;
    if (!is_constant || !value) {
      problem.say("CharLSTM: %s must be an initializer of the graph", name);
      return nullptr;
    }
    const auto* data = static_cast<const float*>(data_of(api_, value, name, sizes, rank, problem));
    std::int64_t count = 1;
    for (std::size_t axis = 0; problem.ok() && axis < rank; ++axis) count *= sizes[axis];
    if (problem.ok() && !all_finite(data, count)) {
      problem.say("CharLSTM: %s holds numbers that are not finite", name);
    }
    return data;
  }

  template <class T>
  const T* input(const OrtKernelContext* context, Input index, std::int64_t* sizes,
                 std::size_t rank, Problem& problem) const {
    const OrtValue* value = nullptr;
    if (!problem.ok() || !problem.take(api_.input(context, index, &value))) return nullptr;
    const char* name = kInputTensors[index].name;
    return static_cast<const T*>(data_of(api_, value, name, sizes, rank, problem));
  }

  template <class T>
  T* output(OrtKernelContext* context, Output index, const std::int64_t* sizes, std::size_t rank,
            Problem& problem) const {
    OrtValue* value = nullptr;
    void* data = nullptr;
    if (problem.ok() && problem.take(api_.output(context, index, sizes, rank, &value)))
      problem.take(api_.data_of(value, &data));
    return static_cast<T*>(data);
  }

  bool check(const Call& call, Problem& problem) const {
    if (call.steps < 0 || call.steps > kMostSteps)
      return problem.say("CharLSTM: steps is %lld", static_cast<long long>(call.steps));
    for (std::int64_t stream = 0; stream < call.streams; ++stream) {
      const auto number = static_cast<long long>(stream);
      const std::int64_t length = call.lengths[stream];
      if (length < 0 || length > call.time)
        return problem.say("CharLSTM: the length of prompt %lld is %lld, and %lld ids are given",
                           number, static_cast<long long>(length),
                           static_cast<long long>(call.time));
      const std::int64_t first = stream * call.time, count = std::min(call.time, length + 1);
      const std::int64_t most = call.id_bytes == 1
                                    ? largest<std::uint8_t>(call.prompt, first, count)
                                    : largest<std::uint32_t>(call.prompt, first, count);
      if (most >= vocabulary_)
        return problem.say("CharLSTM: id %d in prompt %lld, and the vocabulary has %lld",
                           static_cast<int>(most), number, static_cast<long long>(vocabulary_));
      const float inverse = call.inverse_temperature[stream], top_p = call.top_p[stream];
      const float min_p = call.min_p[stream];
      if (!(inverse >= 0 && std::isfinite(inverse) && top_p > 0 && min_p >= 0 && min_p <= 1 &&
            call.top_k[stream] > 0))
        return problem.say("CharLSTM: the temperature or a filter of stream %lld is out of range",
                           number);
    }
    const std::int64_t numbers = call.streams * layers_ * hidden_;
    if (!all_finite(call.h, numbers) || !all_finite(call.c, numbers))
      return problem.say("CharLSTM: h or c holds numbers that are not finite");
    return true;
  }

  struct Work {
    const Kernel& kernel;
    const Call& call;
    std::int64_t blocks;
    charlm::Team team{};  // of a single stream
    std::atomic<int> arrived{0};
    std::atomic<Outcome> outcome{Outcome::done};

    void run(std::int64_t first, std::int64_t count, charlm::Team& led) {
      const Outcome found =
          kernel.settings_.instructions->run(*kernel.model_, call, first, count, led);
      if (found != Outcome::done) outcome = found;
    }
    void run_block(std::int64_t block) {
      const std::int64_t first = call.streams * block / blocks;
      charlm::Team alone;
      run(first, call.streams * (block + 1) / blocks - first, alone);
    }
    // Whoever comes first leads, since nobody may ever come second.
    void join_team() {
      const int share = arrived++;
      if (share == 0) {
        run(0, 1, team);
      } else {
        charlm::help(team, share);
      }
    }
  };

  void run(const OrtKernelContext* context, const Call& call, Problem& problem) const {
    if (gpu_) {
      const std::string said = charlm_gpu::run(*gpu_, call, settings_.on_cuda_provider);
      if (!said.empty()) problem.say("CharLSTM: %s", said.c_str());
      return;
    }
    Work work{*this, call, blocks(call.streams)};
    work.team.shares = call.streams == 1 ? shares_ : 1;
    const std::int64_t jobs = work.blocks == 1 ? work.team.shares : work.blocks;
    if (jobs == 1) {
      work.run_block(0);
    } else if (work.blocks == 1) {
      const auto join = [](void* data, std::size_t) { static_cast<Work*>(data)->join_team(); };
      problem.take(api_.parallel(context, join, static_cast<std::size_t>(jobs), &work));
    } else {
      const auto one = [](void* data, std::size_t block) {
        static_cast<Work*>(data)->run_block(static_cast<std::int64_t>(block));
      };
      problem.take(api_.parallel(context, one, static_cast<std::size_t>(jobs), &work));
    }
    if (work.outcome == Outcome::no_memory) problem.say("CharLSTM: no memory for the streams");
    if (work.outcome == Outcome::not_finite)
      problem.say("CharLSTM: the model gives numbers that are not finite: its weights are damaged");
  }

  // As many as keep all threads busy, of equal size, and none too small to be worth a thread.
  std::int64_t blocks(std::int64_t streams) const {
    constexpr std::int64_t worth = 8;
    const std::int64_t least = (streams + charlm::kBlock - 1) / charlm::kBlock;
    const std::int64_t threads = settings_.threads;
    if (least >= threads) return (least + threads - 1) / threads * threads;
    const std::int64_t most = (streams + worth - 1) / worth;
    return most < threads ? most : threads;
  }

  const OrtApi& api_;
  const Settings settings_;
  std::int64_t vocabulary_ = 0, hidden_ = 0, layers_ = 0;
  charlm::Model* model_ = nullptr;
  std::shared_ptr<charlm_gpu::Gpu> gpu_;
  int shares_ = 1;  // of a single stream's steps
};

// ---- What ONNX Runtime calls

struct Operator : OrtCustomOp {
  Settings settings;
};

OrtStatus* CHARLM_ORT_CALL create(const OrtCustomOp* op, const OrtApi* api,
                                  const OrtKernelInfo* info, void** kernel) {
  *kernel = nullptr;
  auto* made = new (std::nothrow) Kernel(*api, static_cast<const Operator*>(op)->settings);
  if (!made) return api->create_status(ORT_FAIL, "CharLSTM: no memory");
  Problem problem(*api);
  made->pack(info, problem);
  if (problem.ok()) {
    *kernel = made;
  } else {
    delete made;
  }
  return problem.released();
}

OrtStatus* CHARLM_ORT_CALL compute(void* kernel, OrtKernelContext* context) {
  const auto& made = *static_cast<const Kernel*>(kernel);
  Problem problem(made.api());
  made.compute(context, problem);
  return problem.released();
}

template <class Value, Value value>
Value CHARLM_ORT_CALL always(const OrtCustomOp*) {
  return value;
}

Operator* made(const Settings& settings) {
  auto* op = new (std::nothrow) Operator{};
  if (!op) return nullptr;
  op->settings = settings;
  op->version = kOrtApiVersion;
  op->GetName = [](const OrtCustomOp* op) {
    return static_cast<const Operator*>(op)->settings.wide ? "CharLSTMWide" : "CharLSTM";
  };
  op->GetExecutionProviderType = [](const OrtCustomOp* op) {
    const bool cuda = static_cast<const Operator*>(op)->settings.on_cuda_provider;
    return cuda ? "CUDAExecutionProvider" : "CPUExecutionProvider";
  };
  op->GetInputTypeCount = always<std::size_t, kInputs>;
  op->GetInputType = [](const OrtCustomOp* op, std::size_t at) {
    const bool wide = static_cast<const Operator*>(op)->settings.wide;
    return at == kPrompt && wide ? ORT_INT32 : kInputTensors[at].type;
  };
  op->GetOutputTypeCount = always<std::size_t, kOutputs>;
  op->GetOutputType = [](const OrtCustomOp* op, std::size_t at) {
    const bool wide = static_cast<const Operator*>(op)->settings.wide;
    return at == kTokens && wide ? ORT_INT32 : kOutputTypes[at];
  };
  op->GetInputCharacteristic = [](const OrtCustomOp*, std::size_t) { return ORT_REQUIRED; };
  op->GetOutputCharacteristic = op->GetInputCharacteristic;
  op->GetInputMemoryType = [](const OrtCustomOp*, std::size_t) { return ORT_MEM_CPU_INPUT; };
  op->GetStartVersion = always<int, 1>;
  op->GetEndVersion = always<int, 1>;
  op->CreateKernelV2 = create;
  op->KernelComputeV2 = compute;
  op->KernelDestroy = [](void* kernel) { delete static_cast<Kernel*>(kernel); };
  return op;
}

// The operators for the ways in which a session may use them, in a domain; they last as long as the
// process, one domain for each way in which sessions ask for them.
struct Domain {
  Settings settings;
  OrtCustomOpDomain* domain = nullptr;
  Domain* following = nullptr;
};
OrtCustomOpDomain* domain_for(const OrtApi& api, const Settings& settings, Problem& problem) {
  static std::mutex mutex;
  static Domain* first = nullptr;
  const std::lock_guard<std::mutex> lock(mutex);
  for (Domain* each = first; each; each = each->following)
    if (each->settings == settings) return each->domain;
  auto* found = new (std::nothrow) Domain{settings};
  if (!found || !problem.take(api.create_domain("charlm", &found->domain))) return nullptr;
  for (const bool wide : {false, true}) {
    for (const bool cuda : {false, true}) {
      Settings each = settings;
      each.wide = wide;
      if (cuda) {  // where a session has that provider, and nothing else was asked for
        if (!each.instructions || each.precision == Precision::int8) continue;
        each.on_cuda_provider = true, each.instructions = nullptr;
      } else if (each.instructions && each.precision == Precision::fp16) {
        continue;
      }
      Operator* op = made(each);
      if (!op) problem.say("CharLSTM: no memory");
      if (!problem.ok() || !problem.take(api.add_operator(found->domain, op))) return nullptr;
    }
  }
  found->following = first;
  first = found;
  return found->domain;
}

// The value of an entry of a session's options, or "".
void read_entry(const OrtApi& api, const OrtSessionOptions* options, const char* key, char* value,
                std::size_t size, Problem& problem) {
  int there = 0;
  value[0] = 0;
  if (problem.ok() && problem.take(api.has_config(options, key, &there)) && there)
    problem.take(api.config(options, key, value, &size));
}

Settings settings_of(const OrtApi& api, const OrtSessionOptions* options, Problem& problem) {
  char precision[16], threads[16], device[16], nvrtc[4096];
  read_entry(api, options, "custom_op.CharLSTM.precision", precision, sizeof precision, problem);
  read_entry(api, options, "custom_op.CharLSTM.threads", threads, sizeof threads, problem);
  read_entry(api, options, "custom_op.CharLSTM.device", device, sizeof device, problem);
  read_entry(api, options, "custom_op.CharLSTM.nvrtc", nvrtc, sizeof nvrtc, problem);
  Settings settings;
  settings.nvrtc = nvrtc;
  const bool cuda = std::strcmp(device, "cuda") == 0, cpu = std::strcmp(device, "cpu") == 0;
  if (device[0] && !cuda && !cpu) problem.say("CharLSTM: device is cpu or cuda, not '%s'", device);
  if (std::strcmp(precision, "int8") == 0 && !cuda) {
    settings.precision = Precision::int8;
  } else if (std::strcmp(precision, "fp16") == 0 && !cpu) {
    settings.precision = Precision::fp16;
  } else if (precision[0] && std::strcmp(precision, "float32") != 0) {
    problem.say("CharLSTM: precision is float32, int8 (cpu) or fp16 (cuda), not '%s'", precision);
  }
  if (cuda) return settings;
  settings.threads =
      threads[0] ? std::atoi(threads) : static_cast<int>(std::thread::hardware_concurrency());
  if (settings.threads < 1) settings.threads = 1;
  const char* wanted = std::getenv("CHARLM_ISA");
  if (wanted && !*wanted) wanted = nullptr;
  settings.instructions = charlm::instruction_set(wanted);
  if (!settings.instructions)
    problem.say("CharLSTM: CHARLM_ISA is '%s', which this machine or this build has not", wanted);
  return settings;
}

}  // namespace

#if defined(_WIN32)
#define CHARLM_EXPORT extern "C" __declspec(dllexport)
#else
#define CHARLM_EXPORT extern "C" __attribute__((visibility("default")))
#endif

// The name by which ONNX Runtime finds a library of operators.
CHARLM_EXPORT OrtStatus* CHARLM_ORT_CALL RegisterCustomOps(OrtSessionOptions* options,
                                                           const OrtApiBase* base) {
  const OrtApi* api = base->GetApi(kOrtApiVersion);
  if (!api) {
    return base->GetApi(1)->create_status(ORT_FAIL, "CharLSTM: needs ONNX Runtime 1.17 or later");
  }
  Problem problem(*api);
  const Settings settings = settings_of(*api, options, problem);
  if (!problem.ok()) return problem.released();
  OrtCustomOpDomain* domain = domain_for(*api, settings, problem);
  if (problem.ok() && !domain) problem.say("CharLSTM: no memory");
  if (problem.ok()) problem.take(api->add_domain(options, domain));
  return problem.released();
}

// Which instruction set a session would use now; null where CHARLM_ISA names none that is there.
CHARLM_EXPORT const char* charlm_instruction_set() {
  const char* wanted = std::getenv("CHARLM_ISA");
  const InstructionSet* found = charlm::instruction_set(wanted && *wanted ? wanted : nullptr);
  return found ? found->name : nullptr;
}

// Memory of the host that a GPU reads and writes at its full rate; null where there is none. For a
// session's tensors: bind outputs to it.
CHARLM_EXPORT void* charlm_gpu_pinned(std::size_t size) { return charlm_gpu::pinned(size); }

// Gives back what `charlm_gpu_pinned` gave.
CHARLM_EXPORT void charlm_gpu_unpin(void* memory) { charlm_gpu::unpin(memory); }

// The multiprocessors of the GPU that a session on "cuda" would use, and its name; 0 and the reason
// where there is none.
CHARLM_EXPORT int charlm_gpu_processors(char* said, std::size_t size) {
  return charlm_gpu::processors(said, size);
}
