#include "emulator/roce/rewrite.h"

#include "emulator/roce/frame_view.h"
#include "emulator/roce/roce_view.h"

namespace farspan::roce {

namespace {

constexpr uint8_t kCe = 3;

FrameView ParseSegment(std::span<const uint8_t> frame) {
  return ParseFrame(frame, static_cast<uint32_t>(frame.size()), 0);
}

// RFC 1624: HC' = ~(~HC + ~m + m'), in one's complement arithmetic.
uint16_t UpdatedChecksum(uint16_t checksum, uint16_t before, uint16_t after) {
  uint32_t sum = static_cast<uint16_t>(~checksum) + static_cast<uint16_t>(~before) + after;
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(~sum);
}

}  // namespace

bool SetCe(std::span<uint8_t> frame) {
  const FrameView view = ParseSegment(frame);
  if (view.ecn == 0 || view.ecn == kCe) return view.ecn == kCe;
  uint8_t* ip = frame.data() + view.l3_offset;
  if (view.ip_version == 6) {
    ip[1] |= kCe << 4;
    return true;
  }
  const uint16_t before = internal::LoadBe16(ip);
  ip[1] |= kCe;
  const uint16_t checksum =
      UpdatedChecksum(internal::LoadBe16(ip + 10), before, internal::LoadBe16(ip));
  ip[10] = static_cast<uint8_t>(checksum >> 8);
  ip[11] = static_cast<uint8_t>(checksum);
  return true;
}

bool CorruptPayload(std::span<uint8_t> frame, uint64_t random) {
  const FrameView view = ParseSegment(frame);
  const bool roce = view.has_ports && view.protocol == kProtocolUdp && view.dst_port == kRocePort &&
                    view.payload_bytes() > kBthBytes;
  const uint32_t kept = roce ? kBthBytes : 0;
  const uint64_t bits = uint64_t{view.payload_bytes() - kept} * 8;
  if (bits == 0) return false;
  const uint64_t bit = random % bits;  // bits < 2^35: the bias is below 2^-29
  frame[view.payload_offset + kept + bit / 8] ^= static_cast<uint8_t>(1u << bit % 8);
  return true;
}

}  // namespace farspan::roce
