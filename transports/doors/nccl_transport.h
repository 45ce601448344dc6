// NcclTransport: Transport over an NCCL net plugin, in host memory and without a GPU.
//
// The plugin is used as NCCL's proxy thread uses it: connect and accept are called again until they
// give a comm, at most 32 requests are open per comm, every open request is tested in turn, and all
// memory is registered with the comm that uses it. Buffers given to register_memory() are
// registered once per comm, others for the time of their request.
//
// What NCCL's API does not promise is not there: tags do not have to match, a message longer than
// its receive and a foreign handle need not be noticed. Not used: grouped receives, GPU memory,
// flushes, joined devices, profilers. A plugin that needs the GPU to move data is refused.
//
// Between two rounds of calls the thread sleeps 20 us where nothing moved (NCCL spins).
// Threading: one thread.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "transports/core/comm_table.h"
#include "transports/core/transport.h"
#include "transports/doors/nccl_net.h"
#include "transports/doors/request_table.h"

namespace farspan::doors {

class NcclTransport final : public transport::Transport {
 public:
  static Result<std::unique_ptr<NcclTransport>> Open(std::unique_ptr<NcclNet> net,
                                                     const std::string& path, int device);
  ~NcclTransport() override;

  transport::Properties properties() const override;
  TimeNs now() const override;
  Result<transport::ListenId> listen(transport::Handle& handle) override;
  void stop_listening(transport::ListenId listener) override;
  std::optional<transport::CommId> accept(transport::ListenId listener) override;
  Result<transport::CommId> connect(const transport::Handle& handle) override;
  transport::CommState state(transport::CommId comm) const override;
  std::string_view failure(transport::CommId comm) const override;
  void close(transport::CommId comm) override;
  Result<uint32_t> register_memory(void* data, uint64_t bytes) override;
  void deregister_memory(uint32_t memory) override;
  std::optional<transport::RequestId> post_send(transport::CommId comm,
                                                const transport::Buffer& buffer,
                                                uint32_t tag) override;
  std::optional<transport::RequestId> post_recv(transport::CommId comm,
                                                const transport::Buffer& buffer,
                                                uint32_t tag) override;
  transport::Completion test(transport::RequestId request) override;
  void progress(TimeNs until) override;
  void set_listener(transport::ProgressListener* listener) override { listener_ = listener; }

 private:
  struct Comm {
    void* theirs = nullptr;
    bool sends = false;
    transport::CommState state = transport::CommState::kConnecting;
    std::string failure;
    transport::Handle handle{};  // the plugin keeps its state in it until the comm is there
    uint32_t pending = 0;
    std::map<uint32_t, void*> registered;  // of register_memory(), by its number
  };
  struct Listener {
    void* theirs = nullptr;
    bool broken = false;  // its last comm has failed in accept
  };
  struct Posted {
    void* theirs = nullptr;
    uint64_t bytes = 0;
    void* memory = nullptr;
    bool temporary = false;  // the memory is registered for this request alone
    bool done = false;
  };
  struct Range {
    void* data = nullptr;
    uint64_t bytes = 0;
  };
  using Comms = transport::CommTable<Listener, Comm>;
  using Entry = RequestTable<Posted>::Entry;

  NcclTransport(std::unique_ptr<NcclNet> net, int device, const NcclDevice& properties)
      : net_(std::move(net)), device_(device), properties_(properties) {}

  bool works(Comm& comm, nccl::Status result, const char* call);
  std::optional<transport::RequestId> post(transport::CommId id, const transport::Buffer& buffer,
                                           uint32_t tag);
  bool memory_for(Comm& comm, const transport::Buffer& buffer, void** memory, bool& temporary);
  bool advance();
  bool advance_listener(Comms::Listening& listening);
  bool advance_connect(Comm& comm);
  bool advance_request(Entry& entry);
  void release(Entry& entry);

  std::unique_ptr<NcclNet> net_;
  int device_;
  NcclDevice properties_;
  Comms comms_;
  std::map<uint32_t, Range> memory_;
  uint32_t next_memory_ = 1;
  RequestTable<Posted> requests_;
  uint64_t empty_message_[8] = {};  // where messages of zero bytes point
  transport::ProgressListener* listener_ = nullptr;
};

}  // namespace farspan::doors
