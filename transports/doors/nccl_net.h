// NcclNet: one NCCL net plugin, called the same way whatever its version.
//
// Thin: every call is one call of the plugin, and answers its ncclResult_t. Host memory and single
// receives only. Threading: as the plugin's; one thread here.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "emulator/base/result.h"
#include "transports/doors/nccl_api.h"
#include "transports/doors/shared_library.h"

namespace farspan::doors {

struct NcclDevice {
  std::string name;
  int pointer_support = 0;
  int device_type = 0;
  int speed_mbps = 0;
  float latency_us = 0;
  uint64_t max_message_bytes = 0;
};

class NcclNet {
 public:
  virtual ~NcclNet() = default;
  virtual int version() const = 0;
  virtual std::string name() const = 0;
  // The functions that the plugin must have and has not: "" if none.
  virtual std::string missing() const = 0;
  virtual nccl::Status init(nccl::Log log) = 0;
  virtual nccl::Status devices(int& count) = 0;
  virtual nccl::Status device(int index, NcclDevice& device) = 0;
  virtual nccl::Status listen(int device, void* handle, void** listener) = 0;
  virtual nccl::Status connect(int device, void* handle, void** comm) = 0;
  virtual nccl::Status accept(void* listener, void** comm) = 0;
  virtual nccl::Status register_memory(void* comm, void* data, size_t bytes, void** memory) = 0;
  virtual nccl::Status deregister_memory(void* comm, void* memory) = 0;
  // No request: try later.
  virtual nccl::Status send(void* comm, void* data, size_t bytes, int tag, void* memory,
                            void** request) = 0;
  virtual nccl::Status receive(void* comm, void* data, size_t bytes, int tag, void* memory,
                               void** request) = 0;
  virtual nccl::Status test(void* request, bool& done, int& bytes) = 0;
  virtual nccl::Status close(void* comm, bool sends) = 0;
  virtual nccl::Status close_listener(void* listener) = 0;
  virtual nccl::Status finalize() = 0;
};

struct NcclOptions {
  int device = 0;
  int version = nccl::kNewest;  // or the newest that the library has before it
};

// "device=1,version=8"; either may be left out.
Result<NcclOptions> ParseNcclOptions(const std::string& text);

// The newest version that the library exports up to `version`, as NCCL chooses.
Result<std::unique_ptr<NcclNet>> FindNcclNet(const SharedLibrary& library, int version);

}  // namespace farspan::doors
