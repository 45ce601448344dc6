// The symbols that NCCL looks for: ncclNetPlugin_v8 to ncclNetPlugin_v12, one Plugin behind all.
#include <algorithm>

#include "transports/nccl/plugin.h"

namespace farspan::nccl_plugin {
namespace {

namespace api = doors::nccl;

Plugin& It() { return Plugin::Instance(); }

Status Devices(int* count) {
  *count = 1;
  return api::kSuccess;
}

// What all versions have, by version where the types differ.
template <int kVersion>
Status GetProperties(int /*device*/, api::Properties<kVersion>* properties) {
  const transport::Properties ours = It().properties();
  *properties = {};
  properties->name = const_cast<char*>(It().name());
  properties->pointer_support = api::kPointerHost;
  properties->speed = static_cast<int>(ours.bits_per_s / 1'000'000);
  properties->port = 1;
  properties->latency = static_cast<float>(ours.latency.ns) / 1e3F;
  properties->max_comms = 65'536;
  properties->max_receives = 1;
  if constexpr (kVersion >= 9) {
    properties->joined.count = 1;
    properties->max_p2p_bytes = std::min<uint64_t>(ours.max_message_bytes, 1u << 30);
    properties->max_collective_bytes = properties->max_p2p_bytes;
  }
  return api::kSuccess;
}

Status Receive(void* comm, int count, void* data, size_t bytes, void* memory, void** request) {
  if (count != 1) return api::kInvalidUsage;  // max_receives is 1
  return It().post(comm, data, bytes, memory, request);
}

// v8 and v9: sizes differ; v10 and later: profiler handles that nothing is done with.
template <typename Size>
Status OldSend(void* comm, void* data, Size bytes, int, void* memory, void** request) {
  return It().post(comm, data, static_cast<size_t>(bytes), memory, request);
}
template <typename Size>
Status OldReceive(void* comm, int count, void** data, Size* bytes, int*, void** memory,
                  void** request) {
  return Receive(comm, count, data[0], static_cast<size_t>(bytes[0]), memory[0], request);
}
Status NewSend(void* comm, void* data, size_t bytes, int, void* memory, void*, void** request) {
  return It().post(comm, data, bytes, memory, request);
}
Status NewReceive(void* comm, int count, void** data, size_t* bytes, int*, void** memory, void**,
                  void** request) {
  return Receive(comm, count, data[0], bytes[0], memory[0], request);
}

Status NoDmabuf(void*, void*, size_t, int, uint64_t, int, void**) { return api::kInternalError; }

Status Flush(void*, int, void**, int*, void**, void** request) {
  *request = nullptr;  // host memory is seen at once
  return api::kSuccess;
}

template <int kVersion>
constexpr api::Net<kVersion> Common() {
  api::Net<kVersion> net{};
  net.name = "Farspan";
  net.devices = Devices;
  net.get_properties = GetProperties<kVersion>;
  net.accept = [](void* listener, void** comm, api::DeviceHandle**) {
    return It().accept(listener, comm);
  };
  net.register_memory = [](void*, void* data, size_t bytes, int type, void** memory) {
    return It().register_memory(data, bytes, type, memory);
  };
  net.register_dmabuf = NoDmabuf;
  net.deregister_memory = [](void*, void* memory) { return It().deregister_memory(memory); };
  net.iflush = Flush;
  net.test = [](void* request, int* done, int* bytes) { return It().test(request, done, bytes); };
  net.close_send = [](void* comm) { return It().close(comm); };
  net.close_receive = [](void* comm) { return It().close(comm); };
  net.close_listen = [](void* listener) { return It().close_listener(listener); };
  if constexpr (kVersion >= 10) {
    net.isend = NewSend;
    net.irecv = NewReceive;
  } else {
    net.isend = OldSend<typename api::Net<kVersion>::Size>;
    net.irecv = OldReceive<typename api::Net<kVersion>::Size>;
  }
  if constexpr (kVersion >= 11) {
    net.init = [](void** context, uint64_t, api::CommConfig*, Log log, api::ProfilerCallback) {
      *context = &It();
      return It().init(log);
    };
    net.listen = [](void*, int, void* handle, void** listener) {
      return It().listen(handle, listener);
    };
    net.connect = [](void*, int, void* handle, void** comm, api::DeviceHandle**) {
      return It().connect(handle, comm);
    };
    net.finalize = [](void*) { return It().finalize(); };
  } else {
    net.listen = [](int, void* handle, void** listener) { return It().listen(handle, listener); };
  }
  if constexpr (kVersion == 10) {
    net.init = [](Log log, api::ProfilerCallback) { return It().init(log); };
    net.connect = [](int, api::CommConfig*, void* handle, void** comm, api::DeviceHandle**) {
      return It().connect(handle, comm);
    };
  } else if constexpr (kVersion < 10) {
    net.init = [](Log log) { return It().init(log); };
    net.connect = [](int, void* handle, void** comm, api::DeviceHandle**) {
      return It().connect(handle, comm);
    };
  }
  return net;
}

}  // namespace
}  // namespace farspan::nccl_plugin

#define FARSPAN_EXPORT extern "C" __attribute__((visibility("default")))
FARSPAN_EXPORT const auto ncclNetPlugin_v8 = farspan::nccl_plugin::Common<8>();
FARSPAN_EXPORT const auto ncclNetPlugin_v9 = farspan::nccl_plugin::Common<9>();
FARSPAN_EXPORT const auto ncclNetPlugin_v10 = farspan::nccl_plugin::Common<10>();
FARSPAN_EXPORT const auto ncclNetPlugin_v11 = farspan::nccl_plugin::Common<11>();
FARSPAN_EXPORT const auto ncclNetPlugin_v12 = farspan::nccl_plugin::Common<12>();
