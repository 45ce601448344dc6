// A UDP socket for datagram trains: batched system calls, segmentation and coalescing by the
// kernel.
//
// A train is several datagrams of one size (the last may be shorter) to one address, given as the
// byte stream that the kernel cuts (UDP_SEGMENT); with UDP_GRO the kernel hands arriving trains
// back in the same form. Where the kernel has neither, trains are one datagram. Nothing blocks and
// nothing allocates after Open. Not thread-safe: one thread per socket.
// What the kernel will not send, and what others tell of it by ICMP, is a Refusal (refusal.h).
// Sources: udp(7), Linux Documentation/networking/segmentation-offloads.rst; ECN by IP_TOS and
// IPV6_TCLASS (RFC 3168). Datagrams carry "don't fragment". Not used: SO_TXTIME, which only the fq
// and etf disciplines honour; trains are paced by the caller's timer.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <utility>

#include "emulator/base/result.h"
#include "transports/drivers/address.h"
#include "transports/drivers/udp/refusal.h"

namespace farspan::udp {

using Address = SocketAddress;

// ECN codepoints of RFC 3168, the low two bits of TOS / traffic class.
enum class Ecn : uint8_t { kNotEct = 0, kEct1 = 1, kEct0 = 2, kCe = 3 };

struct Train {
  const Address* to = nullptr;
  std::span<const iovec> parts;  // the datagrams one after another
  uint16_t segment_bytes = 0;    // each datagram's size; the last may be shorter
  Ecn ecn = Ecn::kNotEct;
};

struct Arrival {
  const Address* from = nullptr;
  std::span<const std::byte> bytes;  // valid until the next receive()
  uint16_t segment_bytes = 0;        // bytes.size() where it is one datagram
  Ecn ecn = Ecn::kNotEct;
};

struct SocketOptions {
  size_t send_buffer_bytes = size_t{8} << 20;     // asked for; the kernel's limits may give less
  size_t receive_buffer_bytes = size_t{8} << 20;  // as above
};

class Socket {
 public:
  static constexpr size_t kSegmentsMax = 64;        // UDP_MAX_SEGMENTS
  static constexpr size_t kTrainBytesMax = 65'000;  // an IP packet less its headers
  static constexpr size_t kBatchMax = 64;

  static Result<Socket> Open(const Address& local, const SocketOptions& options = {});
  Socket(Socket&& other) noexcept;
  Socket& operator=(Socket&& other) noexcept;
  ~Socket();

  // Sends a prefix of the trains and returns its length: less than asked when the kernel's buffer
  // is full (wait for writable), when it turns out that the interface cannot cut trains (they are
  // one datagram from then on), when ICMP has told of an earlier datagram, or after a train that
  // failed by itself (unreachable, too long) or that the interface's queue had no room for, which
  // is counted and skipped.
  size_t send(std::span<const Train> trains);
  // Up to out.size() trains that have arrived.
  size_t receive(std::span<Arrival> out);
  // After POLLERR, which stays until then: what ICMP has told. True if there was anything.
  bool read_errors();
  // The latest since the last call.
  std::optional<Refusal> take_refusal() { return std::exchange(refusal_, std::nullopt); }

  int descriptor() const { return fd_; }
  const Address& local() const { return local_; }
  size_t segments_max() const { return segmentation_ ? kSegmentsMax : 1; }

  struct Counters {
    uint64_t send_errors = 0;  // trains that the kernel refused for good
    uint64_t queue_full = 0;   // trains dropped, in part at least: the interface's queue was full
    uint64_t receive_overflow =
        0;                   // datagrams that the kernel dropped: the socket's buffer was full
    uint64_t truncated = 0;  // trains longer than a receive buffer, dropped
  };
  const Counters& counters() const { return counters_; }

 private:
  struct Buffers;
  Socket() = default;
  Result<void> set_up(const Address& local, const SocketOptions& options);
  size_t after_error(const Train& train, int error);

  int fd_ = -1;
  Address local_;
  bool segmentation_ = false;
  Counters counters_;
  std::optional<Refusal> refusal_;
  std::unique_ptr<Buffers> buffers_;
};

}  // namespace farspan::udp
