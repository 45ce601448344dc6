// The models' packets: as long on the wire as the real ones, with contents of our own.
//
// A header is Head, a body, and a CRC32C over both and the payload. With the 42 bytes of Ethernet,
// IPv4 and UDP that the simulated driver adds, a body of 0 bytes makes an RC packet (BTH 12, ICRC
// 4), one of 16 its first (RETH), one of 4 an ACK (AETH); 8 bytes make a TCP segment (32 bytes with
// time stamps, 12 more than UDP and BTH). All integers are in the machine's order: these packets
// never leave the process. Pure functions, no allocation.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>

#include "transports/core/endpoint.h"

namespace farspan::baselines {

enum class Kind : uint8_t {
  kConnect = 1,
  kAccept,
  kRefuse,  // and why
  kClose,   // the comm ends; answered by kClosed
  kClosed,
  kData,
  kAck,
  kNak,
  kProbe,  // TCP: asks for an ACK when the window is shut
};

struct Head {
  Kind kind{};
  uint8_t flags = 0;
  uint8_t stream = 0;  // queue pair or socket of the comm
  uint8_t marked = 0;  // ACK: CE marks since the last one
  uint32_t comm = 0;   // the receiver's
  uint32_t number = 0;
};

// A packet received whose CRC holds; the spans last as long as the view.
struct Arrival {
  TimeNs at{};
  const transport::Route* route = nullptr;
  Head head;
  std::span<const uint8_t> body;
  std::span<const uint8_t> payload;  // empty where lengths only
  uint32_t payload_bytes = 0;
  bool ecn_marked = false;

  // The body's first bytes as a T; false where it is shorter.
  template <typename T>
  bool read(T& value, size_t at_byte = 0) const {
    static_assert(std::is_trivially_copyable_v<T>);
    if (body.size() < at_byte + sizeof value) return false;
    std::memcpy(&value, body.data() + at_byte, sizeof value);
    return true;
  }
};

template <typename T>
std::span<const uint8_t> BodyOf(const T& value) {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) % 4 == 0);
  return {reinterpret_cast<const uint8_t*>(&value), sizeof value};
}

inline constexpr uint32_t kHeadBytes = 16;  // Head and CRC

// Header of a slot whose payload is set; a body is a multiple of 4 bytes.
void Compose(const Head& head, std::span<const uint8_t> body, transport::TxSlot& slot);
// A whole packet without payload, but for its tx_time.
transport::TxSlot ControlSlot(const Head& head, std::span<const uint8_t> body,
                              const transport::Route& route);
bool Parse(const transport::RxView& view, Arrival& arrival);

}  // namespace farspan::baselines
