// Transport: messages between two processes, non-blocking, in the shape of NCCL's net API.
//
// What collectives, the testbed and the NCCL plugin speak, and what every driver (sim, udp, verbs)
// and every baseline gives. One object per rank and network device.
//
//   receiver: listen() -> handle, sent to the peer by other means; accept() until it has a comm
//   sender:   connect(handle) -> comm; state() until it is kReady
//   both:     post_send / post_recv -> request; test(request) until it is not kPending; close(comm)
//
// A comm carries messages one way, from the side that connected to the side that accepted. Message
// n that was sent fills receive n that was posted, in order of posting and nothing else; a receive
// must be at least as long as its message. The tag travels with the message and must be the
// receive's: a mismatch, as a message too long, fails the comm on both sides. Zero bytes are a
// message like any other. Nothing is sent before the receive it fills was posted.
//
// Units: bytes; times as the driver counts them (TimeNs). Threading: one thread calls everything,
// unless a driver says otherwise. Ownership: a buffer belongs to the transport from post until test
// answers kDone or kFailed; `data` may be null where the driver moves lengths only (virtual time).
// Not modelled: grouped receives (at most one buffer per receive, as NCCL's own Socket transport),
// GPU memory.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "emulator/base/result.h"
#include "emulator/base/time.h"

namespace farspan::transport {

struct ListenId {
  uint32_t value = 0;
  friend constexpr bool operator==(ListenId, ListenId) = default;
};
struct CommId {
  uint32_t value = 0;
  friend constexpr bool operator==(CommId, CommId) = default;
};
// Good until test() has answered kDone or kFailed for it.
struct RequestId {
  uint32_t index = 0;
  uint32_t generation = 0;
  friend constexpr bool operator==(RequestId, RequestId) = default;
};

// What a listener tells its peer through the bootstrap: opaque, of NCCL's size.
inline constexpr size_t kHandleBytes = 128;
using Handle = std::array<uint8_t, kHandleBytes>;

struct Buffer {
  void* data = nullptr;
  uint64_t bytes = 0;
  uint32_t memory = 0;  // of register_memory; 0 where the driver needs none
};

enum class CommState : uint8_t { kConnecting, kReady, kFailed, kClosed };

enum class Progress : uint8_t { kPending, kDone, kFailed };

struct Completion {
  Progress progress = Progress::kPending;
  uint64_t bytes = 0;  // kDone: of the message
};

struct Properties {
  std::string name;
  uint64_t max_message_bytes = 0;
  uint32_t max_requests = 0;  // posted and not yet done, per comm
  uint64_t bits_per_s = 0;    // 0: not known
  TimeNs latency{};           // one way; 0: not known
};

// Told that test(), accept() or state() may answer differently: at most once per burst of work, by
// the thread that makes the progress. It may call the transport.
class ProgressListener {
 public:
  virtual ~ProgressListener() = default;
  virtual void on_progress() = 0;
};

class Transport {
 public:
  virtual ~Transport() = default;

  virtual Properties properties() const = 0;
  virtual TimeNs now() const = 0;

  virtual Result<ListenId> listen(Handle& handle) = 0;
  virtual void stop_listening(ListenId listener) = 0;
  // None while nobody has connected.
  virtual std::optional<CommId> accept(ListenId listener) = 0;
  // At once, in state kConnecting; an unusable handle is an error.
  virtual Result<CommId> connect(const Handle& handle) = 0;
  virtual CommState state(CommId comm) const = 0;
  // Why a comm is kFailed: what happened, to whom, what to do. Good until close().
  virtual std::string_view failure(CommId comm) const = 0;
  // Ends its requests: they are not tested any more. What was sent and is done stays delivered.
  virtual void close(CommId comm) = 0;

  // Where a driver must know memory beforehand (verbs); others give 0.
  virtual Result<uint32_t> register_memory(void* /*data*/, uint64_t /*bytes*/) { return 0; }
  virtual void deregister_memory(uint32_t /*memory*/) {}

  // None: try later (not ready yet, or max_requests are pending), or the comm has failed.
  virtual std::optional<RequestId> post_send(CommId comm, const Buffer& buffer, uint32_t tag) = 0;
  virtual std::optional<RequestId> post_recv(CommId comm, const Buffer& buffer, uint32_t tag) = 0;
  // A send is done when the receiver has all of it. kDone and kFailed release the request.
  virtual Completion test(RequestId request) = 0;

  // Does what can be done, and waits for more until `until` at most. In virtual time, where the
  // scheduler drives, it does nothing.
  virtual void progress(TimeNs until) = 0;
  virtual void set_listener(ProgressListener* listener) = 0;

  // For a process that ends: makes progress until the peers know of every comm that was closed, and
  // of all that it has received, or `until`. Nothing to do where the system or a library sees to
  // it.
  virtual void drain(TimeNs /*until*/) {}
};

}  // namespace farspan::transport
