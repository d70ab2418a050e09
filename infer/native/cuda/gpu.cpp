#include "gpu.h"

#if defined(__linux__)

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include "driver.h"
#include "run.h"
#include "shapes.h"

// The kernels' sources, for NVRTC.
#define CHARLM_SOURCE(name, file)             \
  extern "C" const char name[], name##_end[]; \
  asm(".section .rodata\n" #name ":\n.incbin \"" file "\"\n" #name "_end:\n.byte 0\n.previous")
CHARLM_SOURCE(charlm_device_source, CHARLM_CUDA "/device.h");
CHARLM_SOURCE(charlm_run_source, CHARLM_CUDA "/run.h");
CHARLM_SOURCE(charlm_step_source, CHARLM_CUDA "/step.h");
CHARLM_SOURCE(charlm_kernel_source, CHARLM_CUDA "/kernel.cu");
CHARLM_SOURCE(charlm_persistent_source, CHARLM_CUDA "/persistent.cu");
CHARLM_SOURCE(charlm_alone_source, CHARLM_CUDA "/alone.cu");

namespace charlm_gpu {
namespace {

constexpr int kGroupThreads = 128, kGroupStreams = 64;    // of four warps that multiply together
constexpr int kDynamicSharedBytes = 8, kAnyCluster = 14;  // attributes of a function
constexpr int kClusters = 90;    // the architecture from which on blocks form clusters
constexpr int kVersion = 12010;  // of CUDA, from which on its compiler knows `st.async`

template <class Any>  // a `Shape` or an `Alone`
Source source_of(const Any& shape, const char* kernel, std::initializer_list<int> sizes,
                 std::initializer_list<bool> flags, const std::string& own,
                 bool architecture_specific = false) {
  std::string list;
  for (const int each : sizes) list += std::to_string(each) + ", ";
  for (const bool each : flags) list += each ? "true, " : "false, ";
  std::string text = "#define SHAPE " + list + "\n#define KERNEL " + kernel + "\n";
  const std::pair<const char*, int> numbers[] = {{"VOCABULARY", shape.vocabulary},
                                                 {"PARTS", shape.parts},
                                                 {"BLOCKS", std::max(shape.blocks, 1)}};
  for (const auto& [name, value] : numbers)
    text += std::string("#define ") + name + " " + std::to_string(value) + "\n";
  return {kernel, text + charlm_device_source + charlm_run_source + charlm_step_source + own,
          architecture_specific};
}
Source source_of(const Shape& shape) {
  const std::string held =
      shape.logits_held ? "#define LOGITS_HELD 1\n" : "#define LOGITS_HELD 0\n";
  return source_of(
      shape, shape.blocks ? "charlm_persistent" : "charlm_run",
      {shape.units, shape.layers, shape.vocabulary, shape.parts, shape.tiles, shape.row_warps,
       shape.column_warps, shape.chunk, shape.head_groups, shape.blocks},
      {shape.table_shared, shape.state_shared, shape.logits_held},
      shape.blocks ? charlm_persistent_source : held + charlm_kernel_source, shape.blocks > 0);
}
Source source_of(const Alone& shape) {
  return source_of(shape, "charlm_alone",
                   {shape.units, shape.layers, shape.vocabulary, shape.parts, shape.blocks},
                   {shape.recurrent_held, shape.head_held, shape.table_shared},
                   charlm_alone_source);
}

std::int64_t over(std::int64_t size, std::int64_t part) { return (size + part - 1) / part; }

// Places of arrays in one piece of memory, each on a border of 256 bytes.
class Places {
 public:
  explicit Places(Address begin) : begin_(begin) {}
  template <class T>
  T* take(std::int64_t count) {
    auto* place = reinterpret_cast<T*>(begin_ + used_);
    used_ += (static_cast<std::size_t>(count) * sizeof(T) + 255) / 256 * 256;
    return place;
  }
  std::size_t used() const { return used_; }

 private:
  const Address begin_;
  std::size_t used_ = 0;
};

}  // namespace

class Gpu {
 public:
  Gpu(const charlm::Weights& weights, charlm::Precision precision, const std::string& nvrtc,
      Problem& problem);
  ~Gpu();
  Gpu(const Gpu&) = delete;
  Gpu& operator=(const Gpu&) = delete;

  void run(const charlm::Call& call, bool outputs_on_device, Problem& problem);

 private:
  class Memory;
  struct Layout {
    int streams, blocks;  // one block, or a cluster, and its streams
    int threads;          // of a block
    int shared;           // memory of a block, in units of 16 bytes
    int scratch;          // outside the chip, the same; a cluster has none
    bool by_groups;       // of four warps, each with streams of its own: fewer will do, too
  };
  struct Program;
  struct Work;

  const Program* program_for(std::int64_t streams, Problem& problem);
  Problem refused(const std::string& reason) const;
  template <class Any>
  std::unique_ptr<Program> made(const Any& shape, const Layout& layout, Problem& problem);
  template <class Any>
  std::unique_ptr<Program> of_clusters(const Any& shape, const Layout& layout, Problem& problem);
  std::unique_ptr<Work> work();
  void keep(std::unique_ptr<Work> work);

  Device device_;
  const int parts_;
  const std::string nvrtc_;
  std::vector<float> numbers_;  // the weights, for shapes that are wanted later
  charlm::Weights weights_{};
  std::mutex mutex_;
  std::map<int, std::unique_ptr<Program>> programs_;  // by streams of a block
  std::unique_ptr<Program> alone_, persistent_;       // null where not asked for
  std::vector<std::unique_ptr<Work>> idle_;
};

// Memory on the device.
class Gpu::Memory {
 public:
  explicit Memory(const Device& device) : device_(device) {}
  ~Memory() { release(); }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  bool hold(std::size_t size, Problem& problem) {
    if (size <= size_) return true;
    release();
    if (device_.driver().cuMemAlloc_v2(&address_, size) != 0) {
      if (problem.empty())
        problem = "no memory on " + device_.name() + " for " + std::to_string(size >> 20) +
                  " MiB: give a smaller --width";
      return false;
    }
    size_ = size;
    return true;
  }
  template <class T>
  bool hold(const std::vector<T>& content, Problem& problem) {
    const std::size_t size = content.size() * sizeof(T);
    if (!hold(std::max<std::size_t>(size, 16), problem)) {
      problem = "no memory on " + device_.name() + " for the model's weights";
      return false;
    }
    const auto from = reinterpret_cast<Address>(content.data());
    const Driver& driver = device_.driver();
    return driver.good(driver.cuMemcpyAsync(address_, from, size, nullptr), "sending weights",
                       problem) &&
           driver.good(driver.cuStreamSynchronize(nullptr), "sending weights", problem);
  }
  Address address() const { return address_; }

 private:
  void release() {
    if (size_) device_.driver().cuMemFree_v2(address_);
    size_ = 0;
  }

  const Device& device_;
  Address address_ = 0;
  std::size_t size_ = 0;
};

// The kernel of a shape, and the weights in its order.
struct Gpu::Program {
  explicit Program(const Device& its) : device(its) {}
  ~Program() {
    if (module) device.driver().cuModuleUnload(module);
  }
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  const Device& device;
  Layout layout{};
  void *module = nullptr, *function = nullptr;
  Memory weights{device}, table{device}, bias{device}, head_bias{device};
  float gate_scale = 1, head_scale = 1;
  int clusters = 0;  // that run at once

  // With as few groups of warps as let all clusters end at the same time.
  Layout layout_for(std::int64_t streams) const {
    Layout dealt = layout;
    if (!layout.by_groups) return dealt;
    const std::int64_t most = layout.threads / kGroupThreads, all = over(streams, kGroupStreams);
    const std::int64_t turns = over(all, most * clusters);
    const auto own = static_cast<int>(over(all, turns * clusters));
    dealt.streams = own * kGroupStreams, dealt.threads = own * kGroupThreads;
    return dealt;
  }
};

// What a run needs for itself; kept for the next.
struct Gpu::Work {
  explicit Work(const Device& its) : device(its) {}
  ~Work() {
    if (stream) device.driver().cuStreamDestroy_v2(stream);
  }
  Work(const Work&) = delete;
  Work& operator=(const Work&) = delete;

  const Device& device;
  void* stream = nullptr;
  Memory memory{device};
};

Gpu::Gpu(const charlm::Weights& weights, charlm::Precision precision, const std::string& nvrtc,
         Problem& problem)
    : device_(problem),
      parts_(precision == charlm::Precision::fp16 ? 1 : 2),
      nvrtc_(nvrtc),
      weights_(weights) {
  const std::int64_t hidden = weights.hidden, gates = 4 * hidden, upper = weights.layers - 1;
  const float** pointers[] = {&weights_.table,      &weights_.recurrent, &weights_.upper,
                              &weights_.upper_bias, &weights_.head,      &weights_.head_bias};
  const std::int64_t sizes[] = {weights.vocabulary * gates,  hidden * gates,
                                upper * 2 * hidden * gates,  upper * gates,
                                hidden * weights.vocabulary, weights.vocabulary};
  for (int each = 0; each < 6; ++each)
    numbers_.insert(numbers_.end(), *pointers[each], *pointers[each] + sizes[each]);
  const float* place = numbers_.data();
  for (int each = 0; each < 6; ++each) *pointers[each] = place, place += sizes[each];
  if (problem.empty()) program_for(1, problem);  // what can't work is said now
  const char* wanted = std::getenv("CHARLM_CLUSTERS");
  if (!problem.empty() || !wanted || std::string(wanted) != "1") return;
  const Alone shape = alone_of(weights_, parts_, device_.shared_bytes());
  if (shape.blocks) {
    alone_ =
        of_clusters(shape, {1, shape.blocks, shape.threads(), shape.shared(), 0, false}, problem);
  } else {
    problem = refused("the model is too large");
  }
}

Gpu::~Gpu() {
  if (!device_.started()) return;
  const Device::Current current(device_);
  idle_.clear();
  programs_.clear();
  alone_.reset();
  persistent_.reset();
}

// Where clusters are asked for: one for each stream if all have room at once, else such as weights
// stay in, if they can. Otherwise blocks as small as let all streams run at once, or the largest.
const Gpu::Program* Gpu::program_for(std::int64_t streams, Problem& problem) {
  if (alone_ && streams <= alone_->clusters) return alone_.get();
  const std::lock_guard<std::mutex> lock(mutex_);
  if (alone_) {
    const Shape shape =
        persistent_of(weights_, parts_, device_.architecture(), device_.shared_bytes());
    if (shape.blocks && !persistent_)
      persistent_ = of_clusters(
          shape, {shape.streams(), shape.blocks, shape.threads(), shape.shared(), 0, true},
          problem);
    if (shape.blocks) return persistent_.get();
  }
  int wanted = 0;
  for (const int each : kStreamsOfBlocks)
    if (!wanted || std::int64_t{wanted} * device_.processors() < streams) wanted = each;
  const Shape shape = shape_of(weights_, parts_, wanted, device_.shared_bytes());
  auto& program = programs_[shape.streams()];
  if (!program)
    program =
        made(shape, {shape.streams(), 1, shape.threads(), shape.shared(), shape.scratch(), false},
             problem);
  return program.get();
}

// Who asks for clusters is told why there are none.
Problem Gpu::refused(const std::string& reason) const {
  return "no clusters on " + device_.name() + ", since " + reason + ": unset CHARLM_CLUSTERS";
}
template <class Any>
std::unique_ptr<Gpu::Program> Gpu::of_clusters(const Any& shape, const Layout& layout,
                                               Problem& problem) {
  const Driver& driver = device_.driver();
  const Device::Current current(device_);  // a program that is refused is given up in it
  Problem reason;
  std::unique_ptr<Program> program;
  int version = 0;
  driver.cuDriverGetVersion(&version);
  if (device_.architecture() < kClusters) {
    reason = "compute capability 9.0 or later is needed";
  } else if (!driver.cuOccupancyMaxActiveClusters || version < kVersion) {
    reason = "a driver of CUDA 12.1 or later is needed";
  } else if ((program = made(shape, layout, reason))) {
    const auto blocks = static_cast<unsigned>(layout.blocks);
    const auto threads = static_cast<unsigned>(layout.threads);
    const auto bytes = 16 * static_cast<unsigned>(layout.shared);
    const Launch launch{{blocks, 1, 1}, {threads, 1, 1}, bytes, nullptr, nullptr, 0};
    int most = 0;
    driver.good(driver.cuOccupancyMaxActiveClusters(&most, program->function, &launch),
                "counting clusters", reason);
    program->clusters = std::min(most, device_.processors() / layout.blocks);
    if (program->clusters == 0 && reason.empty())
      reason = "no cluster of " + std::to_string(layout.blocks) + " blocks has room";
  }
  if (!reason.empty()) problem = refused(reason);
  return reason.empty() ? std::move(program) : nullptr;
}

template <class Any>
std::unique_ptr<Gpu::Program> Gpu::made(const Any& shape, const Layout& layout, Problem& problem) {
  const Device::Current current(device_);
  const Driver& driver = device_.driver();
  auto program = std::make_unique<Program>(device_);
  program->layout = layout;
  const Source source = source_of(shape);
  int status = 0;
  for (const bool anew : {false, true}) {  // what was kept may be damaged
    const auto code = compiled(device_, source, nvrtc_, anew, problem);
    if (code.empty()) return nullptr;
    status = driver.cuModuleLoadData(&program->module, code.data());
    if (status == 0) break;
    program->module = nullptr;
  }
  if (!program->module) {
    driver.good(status, "loading the kernel, which an NVRTC newer than the driver may have made,",
                problem);
    return nullptr;
  }
  if (!driver.good(driver.cuModuleGetFunction(&program->function, program->module, source.kernel),
                   "finding the kernel", problem) ||
      !driver.good(
          driver.cuFuncSetAttribute(program->function, kDynamicSharedBytes, 16 * layout.shared),
          "taking shared memory", problem) ||
      (layout.blocks > 8 &&
       !driver.good(driver.cuFuncSetAttribute(program->function, kAnyCluster, 1),
                    "taking a large cluster", problem)))
    return nullptr;
  const Packed packed = charlm_gpu::packed(weights_, shape);
  program->gate_scale = packed.gate_scale, program->head_scale = packed.head_scale;
  if (!program->weights.hold(packed.weights, problem) ||
      !program->table.hold(packed.table, problem) || !program->bias.hold(packed.bias, problem) ||
      !program->head_bias.hold(packed.head_bias, problem))
    return nullptr;
  return program;
}

std::unique_ptr<Gpu::Work> Gpu::work() {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (idle_.empty()) {
    auto made = std::make_unique<Work>(device_);
    if (device_.driver().cuStreamCreate(&made->stream, 1) != 0) made->stream = nullptr;
    return made;
  }
  auto taken = std::move(idle_.back());
  idle_.pop_back();
  return taken;
}

void Gpu::keep(std::unique_ptr<Work> work) {
  const std::lock_guard<std::mutex> lock(mutex_);
  idle_.push_back(std::move(work));
}

void Gpu::run(const charlm::Call& call, bool outputs_on_device, Problem& problem) {
  if (call.time + call.steps >= std::int64_t{1} << 30) {
    problem = "2^30 characters in one run: ask for fewer";
    return;
  }
  if (call.log_probabilities) {
    problem = "a GPU gives no log_probabilities: ask a session on the CPU";
    return;
  }
  const Program* program = program_for(call.streams, problem);
  if (!program) return;
  const Device::Current current(device_);
  const Driver& driver = device_.driver();
  auto work = this->work();
  const Layout layout = program->layout_for(call.streams);
  const auto id_bytes = static_cast<std::int64_t>(call.id_bytes);
  const std::int64_t groups = over(call.streams, layout.streams);
  const std::int64_t state = call.streams * weights_.layers * weights_.hidden;
  const std::int64_t logits = call.streams * weights_.vocabulary, drawn = call.streams * call.steps;
  const std::int64_t scored = call.scored ? call.streams * call.time : 0;

  // What is small goes in one piece.
  std::vector<std::uint8_t> settings;
  bool filtered = false;
  Run run{};
  const auto place_all = [&](Address begin, Address host) {
    Places places(begin);
    const auto fill = [&](auto* place, std::int64_t count, auto value) {
      using Number = std::remove_pointer_t<decltype(place)>;
      auto* to = reinterpret_cast<Number*>(host + (reinterpret_cast<Address>(place) - begin));
      for (std::int64_t at = 0; host && at < count; ++at) to[at] = static_cast<Number>(value(at));
      return place;
    };
    const auto each = [&](auto* place, const auto* from) {
      return fill(place, call.streams, [&](std::int64_t at) { return from[at]; });
    };
    run.lengths = each(places.take<int>(call.streams), call.lengths);
    run.top_k = each(places.take<int>(call.streams), call.top_k);
    run.seed = each(places.take<unsigned long long>(call.streams), call.seed);
    run.stream = each(places.take<unsigned long long>(call.streams), call.stream);
    run.position = each(places.take<unsigned long long>(call.streams), call.position);
    run.inverse_temperature = each(places.take<float>(call.streams), call.inverse_temperature);
    run.top_p = each(places.take<float>(call.streams), call.top_p);
    run.min_p = each(places.take<float>(call.streams), call.min_p);
    run.longest = fill(places.take<int>(groups), groups, [&](std::int64_t group) {
      const auto* first = call.lengths + group * layout.streams;
      const auto* last = call.lengths + std::min(call.streams, (group + 1) * layout.streams);
      return *std::max_element(first, last);
    });
    run.not_finite = fill(places.take<int>(1), 1, [](std::int64_t) { return 0; });
    const std::size_t sent = places.used();
    run.h = places.take<float>(state), run.c = places.take<float>(state);
    run.prompt = places.take<std::uint8_t>(call.streams * call.time * id_bytes);
    run.tokens = places.take<std::uint8_t>(drawn * id_bytes);
    run.log_probability = places.take<float>(scored), run.logits = places.take<float>(logits);
    run.h_next = places.take<float>(state), run.c_next = places.take<float>(state);
    run.scratch = places.take<std::uint8_t>(groups * layout.scratch * 16);
    return std::pair(sent, places.used());
  };
  const auto [sent, needed] = place_all(0, 0);
  if (!work->memory.hold(needed, problem)) return;
  settings.resize(sent);
  place_all(work->memory.address(), reinterpret_cast<Address>(settings.data()));
  for (std::int64_t at = 0; at < call.streams; ++at)
    filtered = filtered || call.top_k[at] < weights_.vocabulary || call.top_p[at] < 1 ||
               call.min_p[at] > 0;

  run.weights = reinterpret_cast<const void*>(program->weights.address());
  run.table = reinterpret_cast<const void*>(program->table.address());
  run.bias = reinterpret_cast<const float*>(program->bias.address());
  run.head_bias = reinterpret_cast<const float*>(program->head_bias.address());
  run.gate_scale = program->gate_scale, run.head_scale = program->head_scale;
  run.streams = static_cast<int>(call.streams), run.time = static_cast<int>(call.time);
  run.steps = static_cast<int>(call.steps), run.scored = call.scored, run.filtered = filtered;

  bool good = true;
  const auto copy = [&](const void* to, const void* from, std::int64_t size) {
    if (!size) return;
    good = good && driver.good(driver.cuMemcpyAsync(reinterpret_cast<Address>(to),
                                                    reinterpret_cast<Address>(from),
                                                    static_cast<std::size_t>(size), work->stream),
                               "copying", problem);
  };
  copy(run.lengths, settings.data(), static_cast<std::int64_t>(sent));
  copy(run.h, call.h, state * 4);
  copy(run.c, call.c, state * 4);
  copy(run.prompt, call.prompt, call.streams * call.time * id_bytes);
  if (scored)
    driver.cuMemsetD8Async(reinterpret_cast<Address>(run.log_probability), 0,
                           static_cast<std::size_t>(scored) * 4, work->stream);
  void* arguments[] = {&run};
  good = good && driver.good(driver.cuLaunchKernel(program->function,
                                                   static_cast<unsigned>(groups * layout.blocks), 1,
                                                   1, static_cast<unsigned>(layout.threads), 1, 1,
                                                   16 * static_cast<unsigned>(layout.shared),
                                                   work->stream, arguments, nullptr),
                             "starting the kernel", problem);
  // What the kernel did wrong is told as such, and waited for outside of the copies; and so is what
  // others may still do with the memory that they gave for outputs.
  const int ended =
      outputs_on_device ? driver.cuCtxSynchronize() : driver.cuStreamSynchronize(work->stream);
  good = good && driver.good(ended, "the kernel", problem);
  int not_finite = 0;
  copy(&not_finite, run.not_finite, sizeof not_finite);
  copy(call.tokens, run.tokens, drawn * id_bytes);
  copy(call.log_probability, run.log_probability, scored * 4);
  copy(call.logits, run.logits, logits * 4);
  copy(call.h_next, run.h_next, state * 4);
  copy(call.c_next, run.c_next, state * 4);
  const int status = driver.cuStreamSynchronize(work->stream);  // whatever failed before
  good = good && driver.good(status, "copying", problem);
  if (good && not_finite)
    problem = "the model gives numbers that are not finite: its weights are damaged";
  keep(std::move(work));
}

std::shared_ptr<Gpu> opened(const charlm::Weights& weights, charlm::Precision precision,
                            const std::string& nvrtc, std::string& problem) noexcept {
  try {
    auto gpu = std::make_shared<Gpu>(weights, precision, nvrtc, problem);
    return problem.empty() ? gpu : nullptr;
  } catch (const std::bad_alloc&) {
    problem = "no memory for the weights";
    return nullptr;
  }
}

std::string run(Gpu& gpu, const charlm::Call& call, bool outputs_on_device) noexcept {
  try {
    Problem problem;
    gpu.run(call, outputs_on_device, problem);
    return problem;
  } catch (const std::bad_alloc&) {
    return "no memory for the streams";
  }
}

// Its context is held to the end, since memory that was pinned in it goes with it.
static const Device* pinning_device() {
  static Problem problem;
  static const auto* const device = new Device(problem);
  return device->started() ? device : nullptr;
}

void* pinned(std::size_t size) noexcept {
  void* memory = nullptr;
  try {
    if (const Device* device = pinning_device()) {
      const Device::Current current(*device);
      if (device->driver().cuMemHostAlloc(&memory, size, 0) != 0) memory = nullptr;
    }
  } catch (const std::bad_alloc&) {
  }
  return memory;
}

void unpin(void* memory) noexcept {
  const Device* device = pinning_device();
  const Device::Current current(*device);
  device->driver().cuMemFreeHost(memory);
}

int processors(char* said, std::size_t size) noexcept {
  Problem problem;
  const Device device(problem);
  std::snprintf(said, size, "%s", problem.empty() ? device.name().c_str() : problem.c_str());
  return problem.empty() ? device.processors() : 0;
}

}  // namespace charlm_gpu

#else

namespace charlm_gpu {

class Gpu {};

std::shared_ptr<Gpu> opened(const charlm::Weights&, charlm::Precision, const std::string&,
                            std::string& problem) noexcept {
  problem = "CUDA is used on Linux only";
  return nullptr;
}

std::string run(Gpu&, const charlm::Call&) noexcept { return ""; }

void* pinned(std::size_t) noexcept { return nullptr; }

void unpin(void*) noexcept {}

int processors(char* said, std::size_t size) noexcept {
  std::snprintf(said, size, "CUDA is used on Linux only");
  return 0;
}

}  // namespace charlm_gpu

#endif
