// Span's wire format: headers, their checksum and their MAC. The page is docs/wire-format.md.
//
// Every datagram begins with version, type, path, message, connection and packet number; what
// follows depends on the type; the header ends in a CRC32C over itself and, where the connection
// negotiated it, over the payload. All integers are little-endian. Parse() accepts nothing that
// Encode() would not have written, apart from the numbers in it
// and the padding.
//
// Numbers on the wire are truncated (packet numbers to 32 bits, messages to 16, datagrams to 24);
// Expand() finds the full number nearest to an expected one.
//
// Sans-IO, pure functions, no allocation. CRC32C is ISA-L's, the MAC libsodium's SipHash-2-4.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <string_view>

namespace farspan::transport {

inline constexpr uint8_t kWireVersion = 1;
inline constexpr uint32_t kMaxGaps = 48;         // that one ACK can report
inline constexpr uint32_t kMaxHeaderBytes = 36;  // in front of payload
inline constexpr uint32_t kMacBytes = 8;
inline constexpr uint32_t kHelloBytes = 256;  // no answer to a HELLO is longer
inline constexpr uint32_t kMaxDatagramIndex = (1u << 24) - 1;
inline constexpr uint64_t kMaxMessageBytes = (uint64_t{1} << 40) - 1;
// In datagrams of so much payload.
constexpr uint64_t MaxMessageBytes(uint32_t payload_bytes) {
  return std::min(kMaxMessageBytes, uint64_t{payload_bytes} * kMaxDatagramIndex);
}

enum class PacketType : uint8_t {
  kHello = 1,  // asks for a connection; with the cookie of a RETRY the second time
  kRetry,      // proves the address, costs the server no state
  kAccept,     // the server's id and what was negotiated
  kRefuse,     // the handshake fails, with a reason
  kData,
  kParity,
  kAck,
  kPing,   // asks for an answer: from a sender, for ACKs of everything from `low` on
  kPong,   // the sender's answer
  kClose,  // the connection ends, with a reason; answered by kClosed
  kClosed,
};

enum class Reason : uint32_t {
  kNone,        // closed in good order
  kNoListener,  // nobody listens under that token
  kSettings,    // payload size, MAC or window do not fit the server's
  kFull,        // too many connections
  kTooLong,     // a message was longer than its receive
  kTag,         // a message's tag was not its receive's
  kMalformed,   // a peer contradicted itself
  kCount,
};

// Why a datagram was dropped before it changed any state.
enum class Drop : uint8_t {
  kNone,
  kTruncated,
  kVersion,
  kType,
  kMalformed,
  kCrc,
  kMac,
  kUnknown,  // no such connection
  kReplay,   // number seen before, or too old to tell
  kState,    // not now: a handshake packet out of turn, data beyond credit or store
  kCount,
};
inline constexpr size_t kDropCount = static_cast<size_t>(Drop::kCount);
std::string_view ToText(Drop drop);
std::string_view ToText(Reason reason);

struct Gap {
  uint32_t first;  // packet number that is missing
  uint32_t count;
};

// Not cleared: `gap_count` says how many there are.
struct Gaps : std::array<Gap, kMaxGaps> {
  Gaps() {}
};

// What all types hold; fields that a type does not have stay 0.
struct Header {
  PacketType type{};
  uint8_t path = 0;
  uint16_t message = 0;     // data, parity: this message; ACK: the first incomplete one
  uint64_t connection = 0;  // the receiver's id; HELLO: the listener's token
  uint32_t number = 0;      // of this packet on its path: data and parity count on their own

  uint32_t index = 0;          // data: datagram of the message; parity: first of its block; ACK:
                               // first datagram missing in `message`
  uint64_t message_bytes = 0;  // data, parity
  uint32_t tag = 0;            // data, parity
  uint8_t block_data = 0;      // parity: datagrams in the block,
  uint8_t row = 0;             //   which of its parity symbols,
  uint8_t stride = 0;          //   distance between its datagrams

  // ACK of the path's numbers low..high: all received but the gaps. PING of a sender: asks for ACKs
  // from `low` on; all numbers before `high` have left.
  uint32_t high = 0;
  uint32_t low = 0;
  uint32_t delay_ns = 0;    // since the highest number that arrived did
  uint32_t ecn_marked = 0;  // data packets with CE so far, mod 2^32
  uint16_t credits = 0;     // receives posted so far, mod 2^16
  bool newest = false;  // `high` is the highest number known (a page of older ones has it unset)
  uint8_t gap_count = 0;
  Gaps gaps{};

  // Handshake.
  uint64_t id = 0;  // the sender's own
  uint64_t cookie = 0;
  uint32_t cookie_time = 0;
  uint16_t payload_bytes = 0;
  uint8_t paths = 0;
  bool payload_crc = false;
  bool in_order = false;
  uint32_t window = 0;        // packets in flight per path
  uint32_t first_number = 0;  // of every path

  int64_t rtt_ns = 0;             // PING: as its sender measures it, 0 not known
  Reason reason = Reason::kNone;  // REFUSE, CLOSE
};

// Length of the header with its CRC.
uint32_t HeaderBytes(const Header& header);
// Writes the header but for its CRC; returns its length with it.
uint32_t EncodeHeader(const Header& header, std::span<uint8_t> out);
// `payload` as far as the CRC covers it.
void SealCrc(std::span<uint8_t> header, std::span<const uint8_t> payload);
bool CrcHolds(std::span<const uint8_t> header, std::span<const uint8_t> payload);

// Everything but CRC and MAC; `header_bytes` is where the payload begins.
Drop ParseHeader(std::span<const uint8_t> datagram, Header& header, uint32_t& header_bytes);

struct MacKey {
  std::array<uint8_t, 16> bytes{};
};
// Over header, payload and the upper half of the packet's full number.
uint64_t Mac(const MacKey& key, std::span<const uint8_t> header, std::span<const uint8_t> payload,
             uint32_t number_high);

// The number congruent to `low` modulo 2^bits that is nearest to `expected`, at least 0.
constexpr uint64_t Expand(uint64_t low, uint32_t bits, uint64_t expected) {
  const uint64_t range = uint64_t{1} << bits;
  const uint64_t half = range / 2;
  const uint64_t candidate = (expected & ~(range - 1)) | low;
  if (candidate + half < expected) return candidate + range;
  if (candidate >= expected + half && candidate >= range) return candidate - range;
  return candidate;
}

}  // namespace farspan::transport
