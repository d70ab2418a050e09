// NVIDIA's driver and its compiler NVRTC, opened where a run needs them: without them the library
// builds and loads as everywhere.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace charlm_gpu {

using Address = std::uintptr_t;  // on the device

// What went wrong, in words for a user; empty while nothing has.
using Problem = std::string;

// The driver's functions, by their names. Each gives 0 where it went well.
struct Driver {
  int (*cuInit)(unsigned);
  int (*cuDriverGetVersion)(int*);
  int (*cuGetErrorString)(int, const char**);
  int (*cuDeviceGetCount)(int*);
  int (*cuDeviceGet)(int*, int);
  int (*cuDeviceGetName)(char*, int, int);
  int (*cuDeviceGetAttribute)(int*, int, int);
  int (*cuDevicePrimaryCtxRetain)(void**, int);
  int (*cuDevicePrimaryCtxRelease_v2)(int);
  int (*cuCtxPushCurrent_v2)(void*);
  int (*cuCtxPopCurrent_v2)(void**);
  int (*cuCtxSynchronize)();
  int (*cuModuleLoadData)(void**, const void*);
  int (*cuModuleUnload)(void*);
  int (*cuModuleGetFunction)(void**, void*, const char*);
  int (*cuFuncSetAttribute)(void*, int, int);
  int (*cuMemAlloc_v2)(Address*, std::size_t);
  int (*cuMemFree_v2)(Address);
  int (*cuMemHostAlloc)(void**, std::size_t, unsigned);
  int (*cuMemFreeHost)(void*);
  int (*cuMemcpyAsync)(Address, Address, std::size_t, void*);
  int (*cuMemsetD8Async)(Address, unsigned char, std::size_t, void*);
  int (*cuStreamCreate)(void**, unsigned);
  int (*cuStreamDestroy_v2)(void*);
  int (*cuStreamSynchronize)(void*);
  int (*cuLaunchKernel)(void*, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned,
                        void*, void**, void**);

  // Of CUDA 11.8 and later; null before. Its last argument is a `Launch`.
  int (*cuOccupancyMaxActiveClusters)(int*, void*, const void*);

  // Whether a call went well; where not, says what failed.
  bool good(int status, const char* what, Problem& problem) const;
};

// What the driver calls CUlaunchConfig.
struct Launch {
  unsigned grid[3], block[3], shared_bytes;
  void* stream;
  const void* attributes;
  unsigned attribute_count;
};

// The driver, ready to be used; null where there is none, or no device.
const Driver* opened_driver(Problem& problem);

// The first device; its context, which the process shares, is retained while this lives.
class Device {
 public:
  explicit Device(Problem& problem);
  ~Device();
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  const Driver& driver() const { return *driver_; }
  bool started() const { return context_ != nullptr; }
  int processors() const { return processors_; }
  int shared_bytes() const { return shared_bytes_; }  // of a block
  int architecture() const { return architecture_; }  // 90 for sm_90
  const std::string& name() const { return name_; }

  // While it lives, the calling thread's work is the device's.
  class Current {
   public:
    explicit Current(const Device& device)
        : driver_(device.driver()),
          pushed_(device.driver().cuCtxPushCurrent_v2(device.context_) == 0) {}
    ~Current() {
      void* context = nullptr;
      if (pushed_) driver_.cuCtxPopCurrent_v2(&context);
    }
    Current(const Current&) = delete;
    Current& operator=(const Current&) = delete;

   private:
    const Driver& driver_;
    const bool pushed_;
  };

 private:
  const Driver* driver_;
  int number_ = 0, processors_ = 0, shared_bytes_ = 0, architecture_ = 0;
  std::string name_;
  void* context_ = nullptr;
};

struct Source {
  const char* kernel;  // its name
  std::string text;
  bool architecture_specific;  // it is for sm_90a, not for sm_90
};

// A program for the device: from the folder of those that were compiled before, or from `source`.
//
// `nvrtc` names NVRTC's library where a package has brought it; empty: wherever it is found.
std::vector<char> compiled(const Device& device, const Source& source, const std::string& nvrtc,
                           bool anew, Problem& problem);

}  // namespace charlm_gpu
