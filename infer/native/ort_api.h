// The part of ONNX Runtime's C interface that a custom operator needs, declared here since no
// package ships its headers. The functions stand in one table whose order is frozen: a function has
// its place for good, and later versions add theirs at the end. Checked against ONNX Runtime 1.22
// and 1.31.
#pragma once

#include <cstddef>
#include <cstdint>

#if defined(_WIN32)
#define CHARLM_ORT_CALL __stdcall
#else
#define CHARLM_ORT_CALL
#endif

struct OrtStatus;
struct OrtValue;
struct OrtKernelInfo;
struct OrtKernelContext;
struct OrtCustomOpDomain;
struct OrtSessionOptions;
struct OrtTensorTypeAndShapeInfo;
struct OrtCustomOp;

constexpr std::uint32_t kOrtApiVersion = 17;  // the oldest that has all functions below

enum OrtErrorCode { ORT_FAIL = 1, ORT_INVALID_ARGUMENT = 2 };
enum OrtMemType { ORT_MEM_DEFAULT = 0, ORT_MEM_CPU_INPUT = -2, ORT_MEM_CPU_OUTPUT = -1 };
enum OrtTensorType { ORT_FLOAT = 1, ORT_UINT8 = 2, ORT_INT32 = 6, ORT_INT64 = 7, ORT_UINT64 = 13 };
enum OrtCharacteristic { ORT_REQUIRED = 0, ORT_OPTIONAL = 1 };

// The table, read by place.
class OrtApi {
  using Any = void(CHARLM_ORT_CALL*)();
  template <class Function>
  Function at(std::size_t place) const {
    return reinterpret_cast<Function>(reinterpret_cast<const Any*>(this)[place]);
  }
  template <class... Arguments>
  OrtStatus* call(std::size_t place, Arguments... arguments) const {
    return at<OrtStatus*(CHARLM_ORT_CALL*)(Arguments...)>(place)(arguments...);
  }

 public:
  OrtStatus* create_status(OrtErrorCode code, const char* message) const {
    return call<OrtErrorCode, const char*>(0, code, message);
  }
  OrtStatus* create_domain(const char* name, OrtCustomOpDomain** domain) const {
    return call(26, name, domain);
  }
  OrtStatus* add_operator(OrtCustomOpDomain* domain, const OrtCustomOp* op) const {
    return call(27, domain, op);
  }
  OrtStatus* add_domain(OrtSessionOptions* options, OrtCustomOpDomain* domain) const {
    return call(28, options, domain);
  }
  OrtStatus* data_of(const OrtValue* value, const void** data) const {
    return call(51, const_cast<OrtValue*>(value), const_cast<void**>(data));
  }
  OrtStatus* data_of(OrtValue* value, void** data) const { return call(51, value, data); }
  OrtStatus* type_of(const OrtTensorTypeAndShapeInfo* info, OrtTensorType* type) const {
    return call(60, info, type);
  }
  OrtStatus* rank_of(const OrtTensorTypeAndShapeInfo* info, std::size_t* rank) const {
    return call(61, info, rank);
  }
  OrtStatus* sizes_of(const OrtTensorTypeAndShapeInfo* info, std::int64_t* sizes,
                      std::size_t rank) const {
    return call(62, info, sizes, rank);
  }
  OrtStatus* shape_of(const OrtValue* value, OrtTensorTypeAndShapeInfo** info) const {
    return call(65, value, info);
  }
  OrtStatus* input(const OrtKernelContext* context, std::size_t index,
                   const OrtValue** value) const {
    return call(90, context, index, value);
  }
  OrtStatus* output(OrtKernelContext* context, std::size_t index, const std::int64_t* sizes,
                    std::size_t rank, OrtValue** value) const {
    return call(91, context, index, sizes, rank, value);
  }
  void release_status(OrtStatus* status) const {
    at<void(CHARLM_ORT_CALL*)(OrtStatus*)>(93)(status);
  }
  void release_shape(OrtTensorTypeAndShapeInfo* info) const {
    at<void(CHARLM_ORT_CALL*)(OrtTensorTypeAndShapeInfo*)>(99)(info);
  }
  OrtStatus* has_config(const OrtSessionOptions* options, const char* key, int* there) const {
    return call(237, options, key, there);
  }
  OrtStatus* config(const OrtSessionOptions* options, const char* key, char* value,
                    std::size_t* size) const {
    return call(238, options, key, value, size);
  }
  OrtStatus* constant(const OrtKernelInfo* info, std::size_t index, int* is_constant,
                      const OrtValue** value) const {
    return call(249, info, index, is_constant, value);
  }
  // Calls function(data, 0) to function(data, count - 1) on the session's threads.
  OrtStatus* parallel(const OrtKernelContext* context, void (*function)(void*, std::size_t),
                      std::size_t count, void* data) const {
    return call<const OrtKernelContext*, void (*)(void*, std::size_t), std::size_t, std::size_t,
                void*>(274, context, function, count, 0, data);
  }
};

struct OrtApiBase {
  const OrtApi*(CHARLM_ORT_CALL* GetApi)(std::uint32_t version);  // null where it is too old
  const char*(CHARLM_ORT_CALL* GetVersionString)();
};

// An operator, as ONNX Runtime asks for it. What a `version` has not yet is not read.
struct OrtCustomOp {
  using Op = const OrtCustomOp*;
  std::uint32_t version;
  void*(CHARLM_ORT_CALL* CreateKernel)(Op, const OrtApi*, const OrtKernelInfo*);
  const char*(CHARLM_ORT_CALL* GetName)(Op);
  const char*(CHARLM_ORT_CALL* GetExecutionProviderType)(Op);
  OrtTensorType(CHARLM_ORT_CALL* GetInputType)(Op, std::size_t index);
  std::size_t(CHARLM_ORT_CALL* GetInputTypeCount)(Op);
  OrtTensorType(CHARLM_ORT_CALL* GetOutputType)(Op, std::size_t index);
  std::size_t(CHARLM_ORT_CALL* GetOutputTypeCount)(Op);
  void(CHARLM_ORT_CALL* KernelCompute)(void* kernel, OrtKernelContext*);
  void(CHARLM_ORT_CALL* KernelDestroy)(void* kernel);
  OrtCharacteristic(CHARLM_ORT_CALL* GetInputCharacteristic)(Op, std::size_t index);
  OrtCharacteristic(CHARLM_ORT_CALL* GetOutputCharacteristic)(Op, std::size_t index);
  OrtMemType(CHARLM_ORT_CALL* GetInputMemoryType)(Op, std::size_t index);
  int(CHARLM_ORT_CALL* GetVariadicInputMinArity)(Op);
  int(CHARLM_ORT_CALL* GetVariadicInputHomogeneity)(Op);
  int(CHARLM_ORT_CALL* GetVariadicOutputMinArity)(Op);
  int(CHARLM_ORT_CALL* GetVariadicOutputHomogeneity)(Op);
  OrtStatus*(CHARLM_ORT_CALL* CreateKernelV2)(Op, const OrtApi*, const OrtKernelInfo*,
                                              void** kernel);
  OrtStatus*(CHARLM_ORT_CALL* KernelComputeV2)(void* kernel, OrtKernelContext*);
  OrtStatus*(CHARLM_ORT_CALL* InferOutputShapeFn)(Op, void* context);
  int(CHARLM_ORT_CALL* GetStartVersion)(Op);
  int(CHARLM_ORT_CALL* GetEndVersion)(Op);
  std::size_t(CHARLM_ORT_CALL* GetMayInplace)(int** input, int** output);
  void(CHARLM_ORT_CALL* ReleaseMayInplace)(int* input, int* output);
  std::size_t(CHARLM_ORT_CALL* GetAliasMap)(int** input, int** output);
  void(CHARLM_ORT_CALL* ReleaseAliasMap)(int* input, int* output);
};
