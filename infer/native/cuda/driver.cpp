#include "driver.h"

#if defined(__linux__)

#include <dlfcn.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <mutex>

namespace charlm_gpu {
namespace {

constexpr int kProcessors = 16, kMajor = 75, kMinor = 76, kSharedBytes = 97;

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

template <class Function>
bool find(void* library, const char* name, Function& function) {
  function = reinterpret_cast<Function>(dlsym(library, name));
  return function != nullptr;
}

bool open_driver(Driver& found, Problem& problem) {
  const std::string named = variable("CHARLM_LIBCUDA");
  void* library = dlopen(named.empty() ? "libcuda.so.1" : named.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    problem = "no NVIDIA driver: libcuda.so.1 can't be opened";
    return false;
  }
  bool all = true;
#define CHARLM_FIND(name) all = find(library, #name, found.name) && all
  CHARLM_FIND(cuInit);
  CHARLM_FIND(cuDriverGetVersion);
  CHARLM_FIND(cuGetErrorString);
  CHARLM_FIND(cuDeviceGetCount);
  CHARLM_FIND(cuDeviceGet);
  CHARLM_FIND(cuDeviceGetName);
  CHARLM_FIND(cuDeviceGetAttribute);
  CHARLM_FIND(cuDevicePrimaryCtxRetain);
  CHARLM_FIND(cuDevicePrimaryCtxRelease_v2);
  CHARLM_FIND(cuCtxPushCurrent_v2);
  CHARLM_FIND(cuCtxPopCurrent_v2);
  CHARLM_FIND(cuCtxSynchronize);
  CHARLM_FIND(cuModuleLoadData);
  CHARLM_FIND(cuModuleUnload);
  CHARLM_FIND(cuModuleGetFunction);
  CHARLM_FIND(cuFuncSetAttribute);
  CHARLM_FIND(cuMemAlloc_v2);
  CHARLM_FIND(cuMemFree_v2);
  CHARLM_FIND(cuMemHostAlloc);
  CHARLM_FIND(cuMemFreeHost);
  CHARLM_FIND(cuMemcpyAsync);
  CHARLM_FIND(cuMemsetD8Async);
  CHARLM_FIND(cuStreamCreate);
  CHARLM_FIND(cuStreamDestroy_v2);
  CHARLM_FIND(cuStreamSynchronize);
  CHARLM_FIND(cuLaunchKernel);
#undef CHARLM_FIND
  find(library, "cuOccupancyMaxActiveClusters", found.cuOccupancyMaxActiveClusters);
  if (!all) {
    problem = "the NVIDIA driver is too old";
    return false;
  }
  int devices = 0;
  if (!found.good(found.cuInit(0), "starting the NVIDIA driver", problem) ||
      !found.good(found.cuDeviceGetCount(&devices), "counting devices", problem))
    return false;
  if (devices == 0) problem = "the NVIDIA driver finds no device";
  return devices > 0;
}

// ---- NVRTC

struct Compiler {
  int (*nvrtcVersion)(int*, int*);
  int (*nvrtcGetNumSupportedArchs)(int*);
  int (*nvrtcGetSupportedArchs)(int*);
  int (*nvrtcCreateProgram)(void**, const char*, const char*, int, const char* const*,
                            const char* const*);
  int (*nvrtcCompileProgram)(void*, int, const char* const*);
  int (*nvrtcGetCUBINSize)(void*, std::size_t*);
  int (*nvrtcGetCUBIN)(void*, char*);
  int (*nvrtcGetPTXSize)(void*, std::size_t*);
  int (*nvrtcGetPTX)(void*, char*);
  int (*nvrtcGetProgramLogSize)(void*, std::size_t*);
  int (*nvrtcGetProgramLog)(void*, char*);
  int (*nvrtcDestroyProgram)(void**);
};

// NVRTC of the driver's version or before: a program of a later one can't be relied on to load.
bool open_compiler(const Driver& driver, const std::string& named, Compiler& found,
                   Problem& problem) {
  int version = 0;
  driver.cuDriverGetVersion(&version);
  const int newest = version / 1000;
  std::vector<std::string> names = {variable("CHARLM_LIBNVRTC")};
  for (std::size_t begin = 0; begin < named.size();) {
    const std::size_t end = std::min(named.find(':', begin), named.size());
    names.push_back(named.substr(begin, end - begin));
    begin = end + 1;
  }
  for (int major = newest; major >= 11; --major)
    names.push_back("libnvrtc.so." + std::to_string(major));
  names.emplace_back("libnvrtc.so");
  void* library = nullptr;
  for (const auto& name : names) {
    if (library || name.empty()) continue;
    library = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
    int major = 0, minor = 0;
    if (library && (!find(library, "nvrtcVersion", found.nvrtcVersion) ||
                    found.nvrtcVersion(&major, &minor) != 0 || major > newest)) {
      dlclose(library);
      library = nullptr;
    }
    // Its other half, which NVRTC of some packages looks for in the system's folders alone.
    const std::size_t end = name.rfind('/');
    if (library && end != std::string::npos)
      dlopen((name.substr(0, end) + "/libnvrtc-builtins.so." + std::to_string(major) + "." +
              std::to_string(minor))
                 .c_str(),
             RTLD_NOW | RTLD_LOCAL);
  }
  if (!library) {
    problem = "NVRTC, NVIDIA's compiler, is not there for this driver, of CUDA " +
              std::to_string(newest) + ": pip install nvidia-cuda-nvrtc" +
              (newest < 13 ? "-cu" + std::to_string(newest) : "");
    return false;
  }
  bool all = true;
#define CHARLM_FIND(name) all = find(library, #name, found.name) && all
  CHARLM_FIND(nvrtcGetNumSupportedArchs);
  CHARLM_FIND(nvrtcGetSupportedArchs);
  CHARLM_FIND(nvrtcCreateProgram);
  CHARLM_FIND(nvrtcCompileProgram);
  CHARLM_FIND(nvrtcGetCUBINSize);
  CHARLM_FIND(nvrtcGetCUBIN);
  CHARLM_FIND(nvrtcGetPTXSize);
  CHARLM_FIND(nvrtcGetPTX);
  CHARLM_FIND(nvrtcGetProgramLogSize);
  CHARLM_FIND(nvrtcGetProgramLog);
  CHARLM_FIND(nvrtcDestroyProgram);
#undef CHARLM_FIND
  if (!all) problem = "NVRTC is too old: version 11.2 or later is needed";
  return all;
}

std::vector<char> compile(const Compiler& compiler, int architecture, const Source& source,
                          Problem& problem) {
  // The newest that NVRTC knows, if the device is newer: then the driver does the rest.
  int count = 0, known = 0;
  compiler.nvrtcGetNumSupportedArchs(&count);
  std::vector<int> supported(static_cast<std::size_t>(count));
  if (count) compiler.nvrtcGetSupportedArchs(supported.data());
  for (const int each : supported)
    if (each <= architecture && each > known) known = each;
  const bool exact = known == architecture;
  const std::string target = std::string("--gpu-architecture=") + (exact ? "sm_" : "compute_") +
                             std::to_string(known) + (source.architecture_specific ? "a" : "");
  const char* options[] = {target.c_str(), "--std=c++17", "--device-as-default-execution-space"};
  std::vector<char> program;
  void* work = nullptr;
  std::size_t size = 0;
  int status =
      compiler.nvrtcCreateProgram(&work, source.text.c_str(), "charlm.cu", 0, nullptr, nullptr);
  if (status == 0) status = compiler.nvrtcCompileProgram(work, 3, options);
  if (status == 0)
    status =
        exact ? compiler.nvrtcGetCUBINSize(work, &size) : compiler.nvrtcGetPTXSize(work, &size);
  if (status == 0) {
    program.resize(size);
    status = exact ? compiler.nvrtcGetCUBIN(work, program.data())
                   : compiler.nvrtcGetPTX(work, program.data());
  }
  if (status != 0) {
    program.clear();
    std::string log;
    if (work && compiler.nvrtcGetProgramLogSize(work, &size) == 0) {
      log.resize(size);
      compiler.nvrtcGetProgramLog(work, log.data());
    }
    const std::string first = log.c_str();
    problem = "NVRTC can't compile the kernel for " + target.substr(19) + ": error " +
              std::to_string(status) + " " + first.substr(0, first.find('\n'));
  }
  if (work) compiler.nvrtcDestroyProgram(&work);
  return program;
}

// ---- The folder of programs that were compiled before

std::string folder() {
  const std::string own = variable("CHARLM_CACHE"), cache = variable("XDG_CACHE_HOME");
  if (!own.empty()) return own;
  if (!cache.empty()) return cache + "/charlm";
  const std::string home = variable("HOME");
  return home.empty() ? "" : home + "/.cache/charlm";
}

// Of FNV-1a, begun twice: nobody has an interest in two sources of one name.
std::string name_of(const std::string& source, int architecture) {
  std::uint64_t hashes[2] = {0xCBF29CE484222325, 0x9E3779B97F4A7C15};
  for (auto& hash : hashes)
    for (const char each : source) hash = (hash ^ static_cast<unsigned char>(each)) * 0x100000001B3;
  char name[64];
  std::snprintf(name, sizeof name, "%016llx%016llx-sm_%d.program",
                static_cast<unsigned long long>(hashes[0]),
                static_cast<unsigned long long>(hashes[1]), architecture);
  return name;
}

std::vector<char> read_file(const std::string& path) {
  std::vector<char> content;
  if (std::FILE* file = std::fopen(path.c_str(), "rb")) {
    char part[1 << 14];
    while (const std::size_t count = std::fread(part, 1, sizeof part, file))
      content.insert(content.end(), part, part + count);
    std::fclose(file);
    if (!content.empty()) content.push_back(0);  // what is damaged may be taken for a text
  }
  return content;
}

// Whole or not at all; a folder that can't be written costs a compilation next time.
void write_file(const std::string& folder, const std::string& path,
                const std::vector<char>& content) {
  for (std::size_t end = folder.find('/', 1);; end = folder.find('/', end + 1)) {
    mkdir(folder.substr(0, end).c_str(), 0700);
    if (end == std::string::npos) break;
  }
  std::string draft = path + ".XXXXXX";
  const int handle = mkstemp(draft.data());
  if (handle < 0) return;
  const bool whole =
      write(handle, content.data(), content.size()) == static_cast<ssize_t>(content.size());
  if (close(handle) != 0 || !whole || std::rename(draft.c_str(), path.c_str()) != 0)
    unlink(draft.c_str());
}

}  // namespace

bool Driver::good(int status, const char* what, Problem& problem) const {
  if (status == 0) return true;
  const char* said = nullptr;
  if (cuGetErrorString(status, &said) != 0 || !said) said = "unknown error";
  if (problem.empty()) problem = std::string(what) + " failed: " + said;
  return false;
}

const Driver* opened_driver(Problem& problem) {
  static std::mutex mutex;
  static Driver found;
  static Problem said;
  static bool tried = false;
  const std::lock_guard<std::mutex> lock(mutex);
  if (!tried) open_driver(found, said);
  tried = true;
  if (!said.empty()) problem = said;
  return said.empty() ? &found : nullptr;
}

Device::Device(Problem& problem) : driver_(opened_driver(problem)) {
  if (!driver_) return;
  char name[100] = "";
  int major = 0, minor = 0;
  const auto attribute = [&](int& value, int which) {
    return driver_->cuDeviceGetAttribute(&value, which, number_);
  };
  const bool good = driver_->good(driver_->cuDeviceGet(&number_, 0), "opening the device", problem);
  if (!good || !driver_->good(driver_->cuDeviceGetName(name, sizeof name, number_) |
                                  attribute(processors_, kProcessors) |
                                  attribute(shared_bytes_, kSharedBytes) |
                                  attribute(major, kMajor) | attribute(minor, kMinor),
                              "asking the device", problem))
    return;
  name_ = name, architecture_ = 10 * major + minor;
  if (architecture_ < 75) {
    problem = name_ + " is too old: compute capability 7.5 or later is needed";
  } else {
    driver_->good(driver_->cuDevicePrimaryCtxRetain(&context_, number_), "starting the device",
                  problem);
  }
}

Device::~Device() {
  if (context_) driver_->cuDevicePrimaryCtxRelease_v2(number_);
}

std::vector<char> compiled(const Device& device, const Source& source, const std::string& nvrtc,
                           bool anew, Problem& problem) {
  const std::string kept = folder(),
                    path = kept + "/" + name_of(source.text, device.architecture());
  std::vector<char> program;
  if (!kept.empty() && !anew) program = read_file(path);
  if (!program.empty()) return program;
  Compiler compiler;
  if (!open_compiler(device.driver(), nvrtc, compiler, problem)) return program;
  program = compile(compiler, device.architecture(), source, problem);
  if (!kept.empty() && !program.empty()) write_file(kept, path, program);
  return program;
}

}  // namespace charlm_gpu

#endif
