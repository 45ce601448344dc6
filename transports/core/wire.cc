#include "transports/core/wire.h"

#include <isa-l/crc.h>
#include <sodium/crypto_shorthash.h>

#include <cstring>

#include "emulator/base/check.h"

namespace farspan::transport {
namespace {

constexpr uint32_t kCrcBytes = 4;
constexpr uint32_t kCommonBytes = 16;
constexpr uint32_t kAckBytes = 40;  // before its gaps
constexpr uint8_t kFlagCrc = 1;
constexpr uint8_t kFlagInOrder = 2;

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__);

// Moves fields one after the other, of their own size or of `bytes`.
class Writer {
 public:
  explicit Writer(std::span<uint8_t> out) : out_(out) {}
  template <typename T>
  void put(T value, size_t bytes = sizeof(T)) {
    FARSPAN_CHECK(at_ + bytes <= out_.size());
    std::memcpy(&out_[at_], &value, bytes);
    at_ += bytes;
  }

 private:
  std::span<uint8_t> out_;
  size_t at_ = 0;
};

class Reader {
 public:
  explicit Reader(std::span<const uint8_t> in) : in_(in) {}
  template <typename T>
  void get(T& value, size_t bytes = sizeof(T)) {
    value = T{};
    std::memcpy(&value, &in_[at_], bytes);
    at_ += bytes;
  }

 private:
  std::span<const uint8_t> in_;
  size_t at_ = 0;
};

uint32_t BodyBytes(PacketType type, uint32_t gaps) {
  switch (type) {
    case PacketType::kHello:
      return kHelloBytes - kCommonBytes - kCrcBytes;
    case PacketType::kRetry:
      return 12;
    case PacketType::kAccept:
      return 16;
    case PacketType::kRefuse:
    case PacketType::kClose:
    case PacketType::kClosed:
      return 4;
    case PacketType::kData:
      return 12;
    case PacketType::kParity:
      return 16;
    case PacketType::kAck:
      return kAckBytes - kCommonBytes + 8 * gaps;
    case PacketType::kPing:
    case PacketType::kPong:
      return 16;
  }
  return 0;
}

// One list of fields for writing and reading; `codec` is a Writer or a Reader.
struct Put {
  Writer& writer;
  template <typename T>
  void operator()(T& value, size_t bytes = sizeof(T)) {
    writer.put(value, bytes);
  }
};
struct Get {
  Reader& reader;
  template <typename T>
  void operator()(T& value, size_t bytes = sizeof(T)) {
    reader.get(value, bytes);
  }
};

template <typename Move, typename H>
void MoveSymbol(Move& move, H& h) {
  move(h.index, 3);
  move(h.message_bytes, 5);
  move(h.tag);
}

template <typename Move, typename H>
void MoveAck(Move& move, H& h, uint16_t& flags) {
  move(h.index, 3);
  move(h.gap_count);
  move(h.credits);
  move(flags);
  move(h.high);
  move(h.low);
  move(h.delay_ns);
  move(h.ecn_marked);
  for (uint32_t i = 0; i < h.gap_count; ++i) {
    move(h.gaps[i].first);
    move(h.gaps[i].count);
  }
}

template <typename Move, typename H>
void MoveSettings(Move& move, H& h, uint8_t& flags) {
  move(h.payload_bytes);
  move(h.paths);
  move(flags);
  move(h.window);
}

template <typename Move, typename H>
void MoveBody(Move& move, H& h, uint16_t& flags) {
  auto small_flags = static_cast<uint8_t>(flags);
  uint8_t zero = 0;
  switch (h.type) {
    case PacketType::kHello:
      move(h.id);
      move(h.cookie);
      move(h.cookie_time);
      MoveSettings(move, h, small_flags);
      move(h.first_number);
      break;
    case PacketType::kRetry:
      move(h.cookie);
      move(h.cookie_time);
      break;
    case PacketType::kAccept:
      move(h.id);
      MoveSettings(move, h, small_flags);
      break;
    case PacketType::kRefuse:
    case PacketType::kClose:
    case PacketType::kClosed:
      move(h.reason);
      break;
    case PacketType::kData:
      MoveSymbol(move, h);
      break;
    case PacketType::kParity:
      MoveSymbol(move, h);
      move(h.block_data);
      move(h.row);
      move(h.stride);
      move(zero);
      break;
    case PacketType::kAck:
      return MoveAck(move, h, flags);
    case PacketType::kPing:
    case PacketType::kPong:
      move(h.low);
      move(h.high);
      move(h.rtt_ns);
      break;
  }
  flags = small_flags;
}

bool HasPayload(PacketType type) {
  return type == PacketType::kData || type == PacketType::kParity;
}

// What Encode never writes.
bool IsMalformed(const Header& h, uint16_t flags) {
  switch (h.type) {
    case PacketType::kHello:
    case PacketType::kAccept:
      return flags > (kFlagCrc | kFlagInOrder) || h.paths == 0 || h.payload_bytes == 0 ||
             h.window == 0 || h.path != 0;
    case PacketType::kParity:
      return h.block_data == 0 || h.stride == 0 || h.block_data + h.row > 254;
    case PacketType::kAck:
      return flags > 1;
    case PacketType::kRefuse:
    case PacketType::kClose:
    case PacketType::kClosed:
      return h.reason >= Reason::kCount;
    case PacketType::kPing:
    case PacketType::kPong:
      return h.rtt_ns < 0;
    default:
      return false;
  }
}

uint32_t Crc(std::span<const uint8_t> bytes, uint32_t state) {
  return crc32_iscsi(const_cast<uint8_t*>(bytes.data()), static_cast<int>(bytes.size()), state);
}

}  // namespace

std::string_view ToText(Drop drop) {
  constexpr std::array<std::string_view, kDropCount> kNames{
      "none", "truncated", "version", "type",   "malformed",
      "crc",  "mac",       "unknown", "replay", "state"};
  return kNames[static_cast<size_t>(drop)];
}

std::string_view ToText(Reason reason) {
  constexpr std::array<std::string_view, static_cast<size_t>(Reason::kCount)> kTexts{
      "closed by the peer",
      "nobody listens there under this handle: was the listener closed, or the handle stale?",
      "the peer refused the settings: payload size, MAC key or window differ on the two sides",
      "the peer holds as many connections as it may",
      "a message was longer than the receive posted for it: do both sides use the same sizes?",
      "a message's tag was not that of its receive: do both sides post in the same order?",
      "the peer contradicted itself: do both sides run the same version?"};
  return kTexts[static_cast<size_t>(reason)];
}

uint32_t HeaderBytes(const Header& header) {
  return kCommonBytes + BodyBytes(header.type, header.gap_count) + kCrcBytes;
}

uint32_t EncodeHeader(const Header& header, std::span<uint8_t> out) {
  const uint32_t size = HeaderBytes(header);
  if (header.type == PacketType::kHello) std::memset(out.data(), 0, size);
  Writer writer(out.first(size));
  Put put{writer};
  const auto version_type =
      static_cast<uint8_t>(kWireVersion << 4 | static_cast<uint8_t>(header.type));
  put(version_type);
  put(header.path);
  put(header.message);
  put(header.connection);
  put(header.number);
  uint16_t flags = header.type == PacketType::kAck
                       ? header.newest
                       : (header.payload_crc ? kFlagCrc : 0) | (header.in_order ? kFlagInOrder : 0);
  MoveBody(put, header, flags);
  return size;
}

void SealCrc(std::span<uint8_t> header, std::span<const uint8_t> payload) {
  const uint32_t crc = ~Crc(payload, Crc(header.first(header.size() - kCrcBytes), ~0u));
  std::memcpy(&header[header.size() - kCrcBytes], &crc, kCrcBytes);
}

bool CrcHolds(std::span<const uint8_t> header, std::span<const uint8_t> payload) {
  uint32_t stored = 0;
  std::memcpy(&stored, &header[header.size() - kCrcBytes], kCrcBytes);
  return stored == ~Crc(payload, Crc(header.first(header.size() - kCrcBytes), ~0u));
}

Drop ParseHeader(std::span<const uint8_t> datagram, Header& header, uint32_t& header_bytes) {
  if (datagram.size() < kCommonBytes) return Drop::kTruncated;
  if (datagram[0] >> 4 != kWireVersion) return Drop::kVersion;
  const uint8_t type = datagram[0] & 15;
  if (type < static_cast<uint8_t>(PacketType::kHello) ||
      type > static_cast<uint8_t>(PacketType::kClosed)) {
    return Drop::kType;
  }
  header.type = static_cast<PacketType>(type);
  header.gap_count = 0;
  if (header.type == PacketType::kAck) {
    if (datagram.size() < kAckBytes + kCrcBytes) return Drop::kTruncated;
    header.gap_count = datagram[19];
    if (header.gap_count > kMaxGaps) return Drop::kMalformed;
  }
  header_bytes = HeaderBytes(header);
  if (datagram.size() < header_bytes) return Drop::kTruncated;
  Reader reader(datagram.first(header_bytes));
  Get get{reader};
  uint8_t version_type = 0;
  get(version_type);
  get(header.path);
  get(header.message);
  get(header.connection);
  get(header.number);
  uint16_t flags = 0;
  MoveBody(get, header, flags);
  if (IsMalformed(header, flags)) return Drop::kMalformed;
  header.newest = header.type == PacketType::kAck && flags != 0;
  header.payload_crc = (flags & kFlagCrc) != 0;
  header.in_order = (flags & kFlagInOrder) != 0;
  if (!HasPayload(header.type) && datagram.size() > header_bytes + kMacBytes) {
    return Drop::kMalformed;
  }
  return Drop::kNone;
}

uint64_t Mac(const MacKey& key, std::span<const uint8_t> header, std::span<const uint8_t> payload,
             uint32_t number_high) {
  static_assert(crypto_shorthash_BYTES == 8 && crypto_shorthash_KEYBYTES == 16);
  std::array<uint8_t, 512 + 12> text;
  FARSPAN_CHECK(header.size() <= 512);
  std::memcpy(text.data(), header.data(), header.size());
  crypto_shorthash(&text[header.size()], payload.data(), payload.size(), key.bytes.data());
  std::memcpy(&text[header.size() + 8], &number_high, 4);
  uint64_t mac = 0;
  crypto_shorthash(reinterpret_cast<uint8_t*>(&mac), text.data(), header.size() + 12,
                   key.bytes.data());
  return mac;
}

}  // namespace farspan::transport
