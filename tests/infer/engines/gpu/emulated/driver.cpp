// NVIDIA's driver and NVRTC, as far as charlm uses them, on a CPU: NVRTC compiles by g++, with
// `device.h` beside this file in the place of charlm's, and what it compiles is a shared library.
// Set CHARLM_LIBCUDA and CHARLM_LIBNVRTC to this library's path. What the true NVRTC has compiled
// is taken, too, but not run.
#include <dlfcn.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <mutex>
#include <sstream>
#include <string>

#define EXPORT extern "C" __attribute__((visibility("default")))

namespace {

struct Program {
  std::string source, code, log;
};
struct Module {
  void* library;
  std::string path;
};
std::mutex mutex;
long allocated = 0, pinned = 0;
thread_local int contexts = 0;  // that this thread has pushed and not popped

// A real driver refuses such a call, and not every refusal shows.
void need_context() {
  if (contexts) return;
  std::fprintf(stderr, "the driver is called without a context\n");
  std::abort();
}
void not_run(const void*, int, int, int) {}

long number(const char* name, long otherwise) {
  const char* value = std::getenv(name);
  return value ? std::atol(value) : otherwise;
}
std::string draft(const char* ending) {
  std::string name = std::string("/tmp/charlm-emulated-XXXXXX") + ending;
  close(mkstemps(name.data(), static_cast<int>(std::strlen(ending))));
  return name;
}
std::string content(const std::string& path) {
  std::ostringstream all;
  all << std::ifstream(path, std::ios::binary).rdbuf();
  return all.str();
}

}  // namespace

// ---- The driver. EMULATED_DEVICES, EMULATED_PROCESSORS, EMULATED_SHARED, EMULATED_MEMORY,
// EMULATED_PINNED and EMULATED_ARCHITECTURE say what it finds, EMULATED_CLUSTERS how many clusters
// run at once. Each launch adds a line to the file EMULATED_LAUNCHES: the kernel, its clusters,
// blocks and threads. With EMULATED_DISORDER the threads of each launch come in another order.
// With EMULATED_RATE, characters a second, a kernel takes its time and does nothing, so that the
// host can be measured.

EXPORT int cuInit(unsigned) { return 0; }
EXPORT int cuDriverGetVersion(int* version) {
  *version = static_cast<int>(number("EMULATED_VERSION", 13000));
  return 0;
}
EXPORT int cuGetErrorString(int status, const char** said) {
  *said = status == 2 ? "out of memory" : "invalid value";
  return 0;
}
EXPORT int cuDeviceGetCount(int* count) {
  *count = static_cast<int>(number("EMULATED_DEVICES", 1));
  return 0;
}
EXPORT int cuDeviceGet(int* device, int which) {
  *device = which;
  return 0;
}
EXPORT int cuDeviceGetName(char* name, int size, int) {
  std::snprintf(name, static_cast<std::size_t>(size), "an emulated GPU");
  return 0;
}
EXPORT int cuDeviceGetAttribute(int* value, int which, int) {
  const long architecture = number("EMULATED_ARCHITECTURE", 90);
  switch (which) {
    case 16:
      *value = static_cast<int>(number("EMULATED_PROCESSORS", 1));
      return 0;
    case 75:
      *value = static_cast<int>(architecture / 10);
      return 0;
    case 76:
      *value = static_cast<int>(architecture % 10);
      return 0;
    case 97:
      *value = static_cast<int>(number("EMULATED_SHARED", 227 << 10));
      return 0;
    default:
      return 1;
  }
}
EXPORT int cuDevicePrimaryCtxRetain(void** context, int) {
  *context = &mutex;
  return 0;
}
EXPORT int cuDevicePrimaryCtxRelease_v2(int) { return 0; }
EXPORT int cuCtxPushCurrent_v2(void*) {
  ++contexts;
  return 0;
}
EXPORT int cuCtxPopCurrent_v2(void**) {
  --contexts;
  return 0;
}
EXPORT int cuCtxSynchronize() {
  need_context();
  return 0;
}

EXPORT int cuModuleLoadData(void** module, const void* code) {
  need_context();
  if (std::memcmp(code, "\177ELF", 4) == 0) {  // of the true NVRTC
    *module = new Module{nullptr, ""};
    return 0;
  }
  std::uint64_t size;
  std::memcpy(&size, code, sizeof size);
  if (std::memcmp(static_cast<const char*>(code) + 8, "\177ELF", 4) != 0) return 1;
  auto* made = new Module{nullptr, draft(".so")};
  std::ofstream(made->path, std::ios::binary)
      .write(static_cast<const char*>(code) + 8, static_cast<std::streamsize>(size));
  made->library = dlopen(made->path.c_str(), RTLD_NOW | RTLD_LOCAL);
  unlink(made->path.c_str());
  *module = made;
  return made->library ? 0 : 1;
}
EXPORT int cuModuleUnload(void* module) {
  need_context();
  if (void* library = static_cast<Module*>(module)->library) dlclose(library);
  delete static_cast<Module*>(module);
  return 0;
}
EXPORT int cuModuleGetFunction(void** function, void* module, const char*) {
  need_context();
  void* library = static_cast<Module*>(module)->library;
  *function = library ? dlsym(library, "charlm_emulate") : reinterpret_cast<void*>(&not_run);
  return *function ? 0 : 1;
}
EXPORT int cuOccupancyMaxActiveClusters(int* count, void*, const void*) {
  need_context();
  *count = static_cast<int>(number("EMULATED_CLUSTERS", 16));
  return 0;
}
EXPORT int cuFuncSetAttribute(void*, int, int value) {
  need_context();
  return value <= number("EMULATED_SHARED", 227 << 10) ? 0 : 1;
}
EXPORT int cuMemAlloc_v2(std::uintptr_t* address, std::size_t size) {
  need_context();
  const std::lock_guard<std::mutex> lock(mutex);
  if (allocated + static_cast<long>(size) > number("EMULATED_MEMORY", 1L << 30)) return 2;
  void* memory = nullptr;
  if (posix_memalign(&memory, 256, size + 256) != 0) return 2;
  allocated += static_cast<long>(size);
  // Of a real one nobody knows what is in it: no number, and no id, but where nothing is computed.
  std::memset(memory, std::getenv("EMULATED_RATE") ? 0 : 0xFF, size + 256);
  *static_cast<std::size_t*>(memory) = size;
  *address = reinterpret_cast<std::uintptr_t>(memory) + 256;
  return 0;
}
EXPORT int cuMemFree_v2(std::uintptr_t address) {
  need_context();
  const std::lock_guard<std::mutex> lock(mutex);
  auto* memory = reinterpret_cast<std::size_t*>(address - 256);
  allocated -= static_cast<long>(*memory);
  std::free(memory);
  return 0;
}
EXPORT int cuMemHostAlloc(void** memory, std::size_t size, unsigned) {
  need_context();
  const std::lock_guard<std::mutex> lock(mutex);
  if (pinned + static_cast<long>(size) > number("EMULATED_PINNED", 1L << 40)) return 2;
  if (posix_memalign(memory, 4096, size + 4096) != 0) return 2;
  pinned += static_cast<long>(size);
  *static_cast<std::size_t*>(*memory) = size;
  *memory = static_cast<char*>(*memory) + 4096;
  return 0;
}
EXPORT int cuMemFreeHost(void* memory) {
  need_context();
  const std::lock_guard<std::mutex> lock(mutex);
  auto* begin = reinterpret_cast<std::size_t*>(static_cast<char*>(memory) - 4096);
  pinned -= static_cast<long>(*begin);
  std::free(begin);
  return 0;
}
EXPORT long emulated_pinned() { return pinned; }
EXPORT int cuMemcpyAsync(std::uintptr_t to, std::uintptr_t from, std::size_t size, void*) {
  need_context();
  std::memcpy(reinterpret_cast<void*>(to), reinterpret_cast<const void*>(from), size);
  return 0;
}
EXPORT int cuMemsetD8Async(std::uintptr_t to, unsigned char value, std::size_t size, void*) {
  need_context();
  std::memset(reinterpret_cast<void*>(to), value, size);
  return 0;
}
EXPORT int cuStreamCreate(void** stream, unsigned) {
  need_context();
  *stream = &mutex;
  return 0;
}
EXPORT int cuStreamDestroy_v2(void*) {
  need_context();
  return 0;
}
EXPORT int cuStreamSynchronize(void*) {
  need_context();
  return 0;
}
EXPORT int cuLaunchKernel(void* function, unsigned blocks, unsigned, unsigned, unsigned threads,
                          unsigned, unsigned, unsigned shared, void*, void** arguments, void**) {
  need_context();
  const std::lock_guard<std::mutex> lock(mutex);  // the fibers of one block at a time
  reinterpret_cast<void (*)(const void*, int, int, int)>(function)(
      arguments[0], static_cast<int>(blocks), static_cast<int>(threads), static_cast<int>(shared));
  return 0;
}

// ---- NVRTC

EXPORT int nvrtcVersion(int* major, int* minor) {
  *major = static_cast<int>(number("EMULATED_NVRTC", 13)), *minor = 0;
  return 0;
}
EXPORT int nvrtcGetNumSupportedArchs(int* count) {
  *count = 2;
  return 0;
}
EXPORT int nvrtcGetSupportedArchs(int* known) {
  known[0] = 75, known[1] = 90;
  return 0;
}
EXPORT int nvrtcCreateProgram(void** program, const char* source, const char*, int, const char**,
                              const char**) {
  *program = new Program{source, "", ""};
  return 0;
}
EXPORT int nvrtcCompileProgram(void* program, int, const char**) {
  auto* made = static_cast<Program*>(program);
  Dl_info own;
  dladdr(reinterpret_cast<void*>(&nvrtcCompileProgram), &own);
  const char* folder = std::getenv("EMULATED_SOURCES");
  const std::string source = draft(".cpp"), library = draft(".so"), log = draft(".log");
  std::ofstream(source) << made->source << "\n#include \"" << folder << "/run.h\"\n";
  const std::string command =
      std::string("g++ -std=c++17 -Og -march=native -w -fPIC -shared -include ") + folder +
      "/device.h " + source + " -o " + library + " 2> " + log;
  const int status = std::system(command.c_str());
  made->code = content(library), made->log = content(log);
  for (const auto& each : {source, library, log}) unlink(each.c_str());
  return status ? 6 : 0;
}
EXPORT int nvrtcGetCUBINSize(void* program, std::size_t* size) {
  *size = static_cast<Program*>(program)->code.size() + 8;
  return 0;
}
EXPORT int nvrtcGetCUBIN(void* program, char* code) {
  const auto& made = static_cast<Program*>(program)->code;
  const std::uint64_t size = made.size();
  std::memcpy(code, &size, sizeof size);
  std::memcpy(code + 8, made.data(), made.size());
  return 0;
}
EXPORT int nvrtcGetPTXSize(void* program, std::size_t* size) {
  return nvrtcGetCUBINSize(program, size);
}
EXPORT int nvrtcGetPTX(void* program, char* code) { return nvrtcGetCUBIN(program, code); }
EXPORT int nvrtcGetProgramLogSize(void* program, std::size_t* size) {
  *size = static_cast<Program*>(program)->log.size() + 1;
  return 0;
}
EXPORT int nvrtcGetProgramLog(void* program, char* log) {
  std::strcpy(log, static_cast<Program*>(program)->log.c_str());
  return 0;
}
EXPORT int nvrtcDestroyProgram(void** program) {
  delete static_cast<Program*>(*program);
  return 0;
}
