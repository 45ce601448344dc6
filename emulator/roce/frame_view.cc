#include "emulator/roce/frame_view.h"

namespace farspan::roce::internal {

namespace {
constexpr uint8_t kHopByHop = 0;
constexpr uint8_t kRouting = 43;
constexpr uint8_t kFragment = 44;
constexpr uint8_t kDestination = 60;
constexpr uint32_t kIpv6HeaderBytes = 40;
}  // namespace

void ParseTags(std::span<const uint8_t> bytes, FrameView& view) {
  for (int tag = 0; tag < 2 && IsTag(view.ethertype); ++tag) {
    if (bytes.size() < view.l3_offset + 4u) {
      view.malformed = true;
      return;
    }
    const uint8_t* p = bytes.data() + view.l3_offset;
    if (!view.tagged) {
      view.tagged = true;
      view.pcp = p[0] >> 5;
      view.vlan = LoadBe16(p) & 0x0fff;
    }
    view.ethertype = LoadBe16(p + 2);
    view.l3_offset = static_cast<uint16_t>(view.l3_offset + 4);
  }
  if (view.ethertype < 0x600) {  // a length (IEEE 802.3, 3.2.6): LLC follows
    view.truncated = view.ethertype > view.frame_bytes - view.l3_offset;
    view.ethertype = 0;
  }
}

void ParseIpv6(std::span<const uint8_t> bytes, FrameView& view) {
  const uint8_t* ip = bytes.data() + view.l3_offset;
  if (bytes.size() < view.l3_offset + kIpv6HeaderBytes || ip[0] >> 4 != 6) {
    view.malformed = true;
    return;
  }
  const uint16_t length = LoadBe16(ip + 4);
  const auto traffic_class = static_cast<uint8_t>(LoadBe16(ip) >> 4);
  view.ip_bytes = IpBytes(view, kIpv6HeaderBytes + length, length == 0);
  view.ip_version = 6;
  view.dscp = traffic_class >> 2;
  view.ecn = traffic_class & 3;
  std::memcpy(view.src.data(), ip + 8, 16);
  std::memcpy(view.dst.data(), ip + 24, 16);
  view.protocol = ip[6];

  const std::span<const uint8_t> packet = UpToIpEnd(bytes, view);
  uint32_t offset = view.l3_offset + kIpv6HeaderBytes;
  for (int i = 0; i <= kMaxIpv6Extensions; ++i) {
    const bool is_fragment = view.protocol == kFragment;
    if (!is_fragment && view.protocol != kHopByHop && view.protocol != kRouting &&
        view.protocol != kDestination) {
      ParseL4(packet, offset, view);
      return;
    }
    if (packet.size() < offset + 8 || i == kMaxIpv6Extensions) break;
    const uint8_t* extension = packet.data() + offset;
    view.protocol = extension[0];
    offset += is_fragment ? 8 : (extension[1] + 1u) * 8;
    if (packet.size() < offset) break;
    if (is_fragment) {
      const uint16_t word = LoadBe16(extension + 2);
      view.fragment |= (word & 0xfff9) != 0;
      if (word >> 3 != 0) {
        view.payload_offset = static_cast<uint16_t>(offset);
        return;
      }
    }
  }
  view.malformed = true;
}

}  // namespace farspan::roce::internal
