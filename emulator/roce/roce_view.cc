#include "emulator/roce/roce_view.h"

#include <isa-l/crc.h>

namespace farspan::roce {
namespace {

constexpr uint8_t kCnpOpcode = 0x81;
constexpr uint32_t kCnpPayloadBytes = 16;
constexpr uint32_t kUdpBytes = 8;
constexpr uint32_t kIpv4Bytes = 20;
constexpr uint32_t kIpv6Bytes = 40;
constexpr uint32_t kAtomicWriteBytes = 8;
constexpr uint32_t kMinPathMtu = 256;
constexpr uint32_t kMaxPathMtu = 4096;

enum Header : uint8_t {
  kDeth = 1 << 0,
  kXrceth = 1 << 1,
  kReth = 1 << 2,
  kAtomicEth = 1 << 3,
  kAeth = 1 << 4,
  kAtomicAckEth = 1 << 5,
  kImmDt = 1 << 6,  // or IETH, of the same length
  kFeth = 1 << 7,
};

struct Opcode {
  OpcodeClass opcode_class = OpcodeClass::kNone;  // kNone: reserved
  Position position = Position::kOnly;
  uint8_t headers = 0;
  bool payload = false;
  bool immediate = false;
  Service service = Service::kRc;
  uint8_t header_bytes = 0;  // BTH and what stands behind it
};

// IBTA table 38, RC; the other services have parts of it.
constexpr std::array<Opcode, 32> kRcOpcodes = [] {
  using C = OpcodeClass;
  using P = Position;
  std::array<Opcode, 32> t{};
  t[0x00] = {C::kSend, P::kFirst, 0, true};
  t[0x01] = {C::kSend, P::kMiddle, 0, true};
  t[0x02] = {C::kSend, P::kLast, 0, true};
  t[0x03] = {C::kSend, P::kLast, kImmDt, true, true};
  t[0x04] = {C::kSend, P::kOnly, 0, true};
  t[0x05] = {C::kSend, P::kOnly, kImmDt, true, true};
  t[0x06] = {C::kWrite, P::kFirst, kReth, true};
  t[0x07] = {C::kWrite, P::kMiddle, 0, true};
  t[0x08] = {C::kWrite, P::kLast, 0, true};
  t[0x09] = {C::kWrite, P::kLast, kImmDt, true, true};
  t[0x0a] = {C::kWrite, P::kOnly, kReth, true};
  t[0x0b] = {C::kWrite, P::kOnly, kReth | kImmDt, true, true};
  t[0x0c] = {C::kReadRequest, P::kOnly, kReth};
  t[0x0d] = {C::kReadResponse, P::kFirst, kAeth, true};
  t[0x0e] = {C::kReadResponse, P::kMiddle, 0, true};
  t[0x0f] = {C::kReadResponse, P::kLast, kAeth, true};
  t[0x10] = {C::kReadResponse, P::kOnly, kAeth, true};
  t[0x11] = {C::kAck, P::kOnly, kAeth};
  t[0x12] = {C::kAtomicAck, P::kOnly, kAeth | kAtomicAckEth};
  t[0x13] = {C::kAtomic, P::kOnly, kAtomicEth};
  t[0x14] = {C::kAtomic, P::kOnly, kAtomicEth};
  t[0x16] = {C::kSend, P::kLast, kImmDt, true};
  t[0x17] = {C::kSend, P::kOnly, kImmDt, true};
  t[0x1c] = {C::kFlush, P::kOnly, kFeth | kReth};
  t[0x1d] = {C::kAtomic, P::kOnly, kReth, true};
  return t;
}();

constexpr uint8_t HeaderBytes(uint8_t headers) {
  constexpr std::array<uint8_t, 8> kBytes{8, 4, 16, 28, 4, 8, 4, 4};
  uint32_t sum = 0;
  for (size_t i = 0; i < kBytes.size(); ++i) {
    if ((headers >> i & 1) != 0) sum += kBytes[i];
  }
  return static_cast<uint8_t>(sum);
}

constexpr Opcode OpcodeOf(uint8_t opcode) {
  constexpr uint8_t kLastOfUc = 0x0b;  // SEND and WRITE; nothing that is answered or invalidates
  const uint8_t operation = opcode & 0x1f;
  Opcode found = kRcOpcodes[operation];
  switch (opcode >> 5) {
    case 0:
      return found;
    case 1:
      found.service = Service::kUc;
      return operation <= kLastOfUc ? found : Opcode{};
    case 3:
      if (operation != 0x04 && operation != 0x05) return {};
      found.service = Service::kUd;
      found.opcode_class = OpcodeClass::kDatagram;
      found.headers |= kDeth;
      return found;
    case 4:
      if (opcode != kCnpOpcode) return {};
      return {.opcode_class = OpcodeClass::kCnp, .payload = true, .service = Service::kCnp};
    case 5:
      found.service = Service::kXrc;
      if (IsRequest(found.opcode_class)) found.headers |= kXrceth;
      return found;
    default:
      return {};
  }
}

constexpr std::array<Opcode, 256> kOpcodes = [] {
  std::array<Opcode, 256> all{};
  for (size_t i = 0; i < all.size(); ++i) {
    all[i] = OpcodeOf(static_cast<uint8_t>(i));
    all[i].header_bytes = static_cast<uint8_t>(kBthBytes + HeaderBytes(all[i].headers));
  }
  return all;
}();

uint32_t LoadBe32(const uint8_t* p) {
  return static_cast<uint32_t>(internal::LoadBe16(p)) << 16 | internal::LoadBe16(p + 2);
}
// The last three bytes of four.
uint32_t LoadLast24(const uint8_t* p) { return LoadBe32(p) & 0xffffff; }

AckKind KindOf(uint8_t syndrome) {
  const uint8_t value = syndrome & 0x1f;
  switch (syndrome >> 5) {
    case 0:
      return AckKind::kAck;
    case 1:
      return AckKind::kRnrNak;
    case 3:
      if (value > 4) return AckKind::kReserved;
      return static_cast<AckKind>(static_cast<int>(AckKind::kPsnSequenceError) + value);
    default:
      return AckKind::kReserved;
  }
}

// In the order in which they stand behind the BTH.
void ReadHeaders(const uint8_t* p, uint8_t headers, RoceView& out) {
  if (headers == 0) return;
  if ((headers & kDeth) != 0) {
    out.src_qp = LoadLast24(p + 4);
    return;
  }
  if ((headers & (kXrceth | kFeth)) != 0) p += HeaderBytes(headers & (kXrceth | kFeth));
  if ((headers & kReth) != 0) out.dma_length = LoadBe32(p + 12);
  if ((headers & kAeth) != 0) {
    out.ack = KindOf(p[0]);
    out.msn = LoadLast24(p);
  }
}

bool IsPathMtu(uint32_t bytes) {
  return (bytes & (bytes - 1)) == 0 && bytes >= kMinPathMtu && bytes <= kMaxPathMtu;
}

// `rest`: bytes between the headers and the ICRC.
RoceFault CheckPayload(const Opcode& opcode, uint32_t rest, uint8_t pad) {
  if (rest % 4 != 0 || pad > rest) return RoceFault::kPadCount;
  if (!opcode.payload) return rest == 0 ? RoceFault::kNone : RoceFault::kPayloadLength;
  if (opcode.position == Position::kFirst || opcode.position == Position::kMiddle) {
    if (pad != 0) return RoceFault::kPadCount;
    return IsPathMtu(rest) ? RoceFault::kNone : RoceFault::kPayloadLength;
  }
  const uint32_t bytes = rest - pad;
  const bool good = opcode.opcode_class == OpcodeClass::kCnp      ? bytes == kCnpPayloadBytes
                    : opcode.opcode_class == OpcodeClass::kAtomic ? bytes == kAtomicWriteBytes
                    : opcode.position == Position::kLast ? bytes > 0 && bytes <= kMaxPathMtu
                                                         : bytes <= kMaxPathMtu;
  return good ? RoceFault::kNone : RoceFault::kPayloadLength;
}

RoceFault CheckDatagram(std::span<const uint8_t> bytes, const FrameView& view) {
  if (view.fragment) return RoceFault::kFragment;
  const uint32_t ip_header = view.payload_offset - kUdpBytes - view.l3_offset;
  if (ip_header != (view.ip_version == 4 ? kIpv4Bytes : kIpv6Bytes)) return RoceFault::kIpHeader;
  if (view.truncated) return RoceFault::kTruncatedFrame;
  const uint32_t udp_bytes = internal::LoadBe16(bytes.data() + view.payload_offset - 4);
  if (udp_bytes != view.ip_bytes - ip_header) return RoceFault::kUdpLength;
  const uint32_t payload = udp_bytes - kUdpBytes;
  if (payload < kBthBytes || bytes.size() < view.payload_offset + kBthBytes) {
    return RoceFault::kTruncatedBth;
  }
  return RoceFault::kNone;
}

RoceFault Parse(std::span<const uint8_t> bytes, const FrameView& view, RoceView& out) {
  if (const RoceFault fault = CheckDatagram(bytes, view); fault != RoceFault::kNone) return fault;
  const uint8_t* bth = bytes.data() + view.payload_offset;
  if ((bth[1] & 0x0f) != 0) return RoceFault::kVersion;
  const Opcode& opcode = kOpcodes[bth[0]];
  if (opcode.opcode_class == OpcodeClass::kNone) return RoceFault::kOpcode;
  const uint32_t headers = opcode.header_bytes;
  const uint32_t payload = view.payload_bytes();
  if (payload < headers + kIcrcBytes || bytes.size() < view.payload_offset + headers) {
    return RoceFault::kTruncatedHeaders;
  }
  const uint32_t rest = payload - headers - kIcrcBytes;
  const uint8_t pad = bth[1] >> 4 & 3;
  if (const RoceFault fault = CheckPayload(opcode, rest, pad); fault != RoceFault::kNone) {
    return fault;
  }
  out.opcode = bth[0];
  out.service = opcode.service;
  out.opcode_class = opcode.opcode_class;
  out.position = opcode.position;
  out.ack_request = (bth[8] & 0x80) != 0;
  out.solicited = (bth[1] & 0x80) != 0;
  out.has_immediate = opcode.immediate;
  out.pad = pad;
  out.bth_offset = view.payload_offset;
  out.payload_offset = static_cast<uint16_t>(view.payload_offset + headers);
  out.payload_bytes = static_cast<uint16_t>(rest - pad);
  out.dest_qp = LoadLast24(bth + 4);
  out.psn = LoadLast24(bth + 8);
  ReadHeaders(bth + kBthBytes, opcode.headers, out);
  return RoceFault::kNone;
}

}  // namespace

RoceView internal::ParseRocePacket(std::span<const uint8_t> bytes, const FrameView& view) {
  RoceView out;
  out.fault = Parse(bytes, view, out);
  return out;
}

uint32_t ComputeIcrc(std::span<const uint8_t> bytes, const FrameView& view, const RoceView& roce) {
  constexpr uint32_t kLrhBytes = 8;  // of IB's local header, in whose place are ones
  std::array<uint8_t, kLrhBytes + kIpv6Bytes + kUdpBytes + kBthBytes> head;
  head.fill(0xff);
  const uint32_t bth_end = roce.bth_offset + kBthBytes;
  const uint32_t size = kLrhBytes + bth_end - view.l3_offset;
  std::memcpy(head.data() + kLrhBytes, bytes.data() + view.l3_offset, bth_end - view.l3_offset);
  uint8_t* ip = head.data() + kLrhBytes;
  if (view.ip_version == 4) {
    ip[1] = 0xff;            // type of service
    ip[8] = 0xff;            // time to live
    ip[10] = ip[11] = 0xff;  // checksum
  } else {
    ip[0] |= 0x0f;  // traffic class and flow label
    ip[1] = ip[2] = ip[3] = 0xff;
    ip[7] = 0xff;  // hop limit
  }
  uint8_t* bth = head.data() + size - kBthBytes;
  bth[-2] = bth[-1] = 0xff;  // UDP's checksum
  bth[4] = 0xff;             // resv8a: FECN, BECN
  const uint32_t crc = crc32_gzip_refl(0, head.data(), size);
  return crc32_gzip_refl(crc, bytes.data() + bth_end, roce.icrc_offset() - bth_end);
}

uint32_t ReadIcrc(std::span<const uint8_t> bytes, const RoceView& roce) {
  const uint8_t* p = bytes.data() + roce.icrc_offset();
  return static_cast<uint32_t>(p[0]) | static_cast<uint32_t>(p[1]) << 8 |
         static_cast<uint32_t>(p[2]) << 16 | static_cast<uint32_t>(p[3]) << 24;
}

}  // namespace farspan::roce
