// AbiTransport: Transport over a library that speaks transports/abi/farspan_transport.h.
//
// The rules are that header's. What a library answers is not trusted further than it must be: an
// answer that is none of the header's, or success without an object, fails all comms of the
// transport, and the one that accept() then gives, with a text that names the library, the call,
// its answer and what may be answered. Threading: one thread, as Transport says.
#pragma once

#include <memory>
#include <string>

#include "transports/abi/farspan_transport.h"
#include "transports/core/comm_table.h"
#include "transports/core/transport.h"
#include "transports/doors/door_config.h"
#include "transports/doors/request_table.h"

namespace farspan::doors {

class AbiTransport final : public transport::Transport {
 public:
  // `ops` outlives the transport; `path` is the library's, for texts.
  static Result<std::unique_ptr<AbiTransport>> Open(const farspan_transport_ops& ops,
                                                    const std::string& path,
                                                    const DoorConfig& config);
  ~AbiTransport() override;

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
    farspan_comm* theirs = nullptr;  // null: never made
  };

  AbiTransport(const farspan_transport_ops& ops, farspan_instance* instance, std::string path)
      : ops_(ops), instance_(instance), path_(std::move(path)) {}
  std::optional<transport::RequestId> posted(transport::CommId comm, const char* call, int answer,
                                             farspan_request* request);

  const farspan_transport_ops& ops_;
  farspan_instance* instance_;
  const std::string path_;
  mutable std::string broken_;  // the rule that the library has broken
  transport::CommTable<farspan_listener*, Comm> comms_;
  RequestTable<farspan_request*> requests_;
  transport::ProgressListener* listener_ = nullptr;
};

}  // namespace farspan::doors
