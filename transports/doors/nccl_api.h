// The binary interface of NCCL's net plugins, versions 8 to 12: what a library exports as
// ncclNetPlugin_v8 … ncclNetPlugin_v12.
//
// Written from NCCL's plugins/net/README.md and its list of the versions' changes; one template in
// place of five structures. Between versions, in order: v9 sizes are size_t, devices can be joined;
// v10 a callback and a handle for profilers, and a traffic class in connect; v11 a context per
// communicator, finalize and setNetAttr; v12 eight devices behind one, rails and planes. Members
// that a version does not have stand at the end and must not be read for it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace farspan::doors::nccl {

inline constexpr int kOldest = 8;
inline constexpr int kNewest = 12;

// ncclResult_t, as far as plugins use it.
enum Status : int {
  kSuccess = 0,
  kUnhandledCudaError = 1,
  kSystemError = 2,
  kInternalError = 3,
  kInvalidArgument = 4,
  kInvalidUsage = 5,
  kRemoteError = 6,
  kInProgress = 7,
};

inline constexpr int kPointerHost = 1;  // of ptrSupport and regMr
inline constexpr int kDeviceHost = 0;   // netDeviceType: the plugin needs nothing of the GPU
inline constexpr int kHandleBytes = 128;
inline constexpr int kMaxRequests = 32;  // per comm
inline constexpr int kLogWarn = 2;
inline constexpr int kLogInfo = 3;

using Log = void (*)(int level, unsigned long flags, const char* file, int line, const char* format,
                     ...);
using ProfilerCallback = Status (*)(void** event, int type, void* parent, int64_t plugin,
                                    void* data);

struct CommConfig {
  int traffic_class = -1;  // none
};
struct DeviceHandle;  // only for plugins that work with the GPU

struct PropertiesV8 {
  char* name = nullptr;
  char* pci_path = nullptr;
  uint64_t guid = 0;
  int pointer_support = 0;
  int registration_is_global = 0;
  int speed = 0;  // Mb/s
  int port = 0;
  float latency = 0;  // us
  int max_comms = 0;
  int max_receives = 0;
  int device_type = 0;
  int device_version = 0;
};

template <int kDevices>
struct PropertiesV9 {
  char* name = nullptr;
  char* pci_path = nullptr;
  uint64_t guid = 0;
  int pointer_support = 0;
  int registration_is_global = 0;
  int force_flush = 0;
  int speed = 0;
  int port = 0;
  float latency = 0;
  int max_comms = 0;
  int max_receives = 0;
  int device_type = 0;
  int device_version = 0;
  struct {
    int count = 0;
    int devices[kDevices] = {};
  } joined;
  size_t max_p2p_bytes = 0;
  size_t max_collective_bytes = 0;
  int max_multi_request = 1;  // from v11
  int16_t rail = -1;          // from v12
  int16_t plane = -1;
};

template <int kVersion>
using Properties =
    std::conditional_t<kVersion == 8, PropertiesV8, PropertiesV9<kVersion == 12 ? 8 : 4>>;

// The type of a function that takes other arguments in some versions: up to v9, in v10, from v11.
template <int kVersion, typename Old, typename V10, typename New>
using ByVersion =
    std::conditional_t<kVersion <= 9, Old, std::conditional_t<kVersion == 10, V10, New>>;

template <int kVersion>
struct Net {
  using Size = std::conditional_t<kVersion == 8, int, size_t>;

  const char* name;
  ByVersion<kVersion, Status (*)(Log), Status (*)(Log, ProfilerCallback),
            Status (*)(void** context, uint64_t comm, CommConfig*, Log, ProfilerCallback)>
      init;
  Status (*devices)(int* count);
  Status (*get_properties)(int device, Properties<kVersion>*);
  ByVersion<kVersion, Status (*)(int device, void* handle, void** listener),
            Status (*)(int device, void* handle, void** listener),
            Status (*)(void* context, int device, void* handle, void** listener)>
      listen;
  ByVersion<kVersion, Status (*)(int device, void* handle, void** comm, DeviceHandle**),
            Status (*)(int device, CommConfig*, void* handle, void** comm, DeviceHandle**),
            Status (*)(void* context, int device, void* handle, void** comm, DeviceHandle**)>
      connect;
  Status (*accept)(void* listener, void** comm, DeviceHandle**);
  Status (*register_memory)(void* comm, void* data, size_t bytes, int type, void** memory);
  Status (*register_dmabuf)(void* comm, void* data, size_t bytes, int type, uint64_t offset, int fd,
                            void** memory);
  Status (*deregister_memory)(void* comm, void* memory);
  using OldSend = Status (*)(void* comm, void* data, Size bytes, int tag, void* memory,
                             void** request);
  using NewSend = Status (*)(void* comm, void* data, Size bytes, int tag, void* memory,
                             void* profiler, void** request);
  ByVersion<kVersion, OldSend, NewSend, NewSend> isend;
  using OldReceive = Status (*)(void* comm, int count, void** data, Size* bytes, int* tags,
                                void** memory, void** request);
  using NewReceive = Status (*)(void* comm, int count, void** data, Size* bytes, int* tags,
                                void** memory, void** profiler, void** request);
  ByVersion<kVersion, OldReceive, NewReceive, NewReceive> irecv;
  Status (*iflush)(void* comm, int count, void** data, int* bytes, void** memory, void** request);
  Status (*test)(void* request, int* done, int* bytes);
  Status (*close_send)(void* comm);
  Status (*close_receive)(void* comm);
  Status (*close_listen)(void* listener);
  Status (*get_device_memory)(void* comm, void* memory, void** device_memory);
  Status (*receive_consumed)(void* comm, int count, void* request);
  Status (*make_virtual_device)(int* device, void* joined);  // from v9
  Status (*finalize)(void* context);                         // from v11
  Status (*set_attributes)(void* context, void* attributes);
};

}  // namespace farspan::doors::nccl
