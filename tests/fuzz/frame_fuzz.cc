// Any bytes as a frame: the view's invariants, what rules make of it, marks and corruption.
//
// The first 8 bytes of the input choose what the frame's length claims beyond the bytes, the MTU
// and the random word; the rest is the frame.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "emulator/base/check.h"
#include "emulator/roce/frame_view.h"
#include "emulator/roce/rewrite.h"
#include "emulator/roce/rule_table.h"

namespace {

using namespace farspan;
using namespace farspan::roce;
using Bytes = std::vector<uint8_t>;

FrameView Parse(const Bytes& frame) {
  return ParseFrame(frame, static_cast<uint32_t>(frame.size()), 1500);
}

bool Same(const FrameView& a, const FrameView& b) {
  return a.src == b.src && a.dst == b.dst && a.frame_bytes == b.frame_bytes &&
         a.ip_bytes == b.ip_bytes && a.ethertype == b.ethertype && a.vlan == b.vlan &&
         a.l3_offset == b.l3_offset && a.payload_offset == b.payload_offset &&
         a.src_port == b.src_port && a.dst_port == b.dst_port && a.pcp == b.pcp &&
         a.ip_version == b.ip_version && a.protocol == b.protocol && a.dscp == b.dscp &&
         a.ecn == b.ecn && a.tagged == b.tagged && a.fragment == b.fragment &&
         a.has_ports == b.has_ports && a.malformed == b.malformed && a.truncated == b.truncated &&
         a.super_frame == b.super_frame;
}

void CheckView(const FrameView& view, size_t segment_bytes) {
  FARSPAN_CHECK(view.l3_offset <= segment_bytes);
  FARSPAN_CHECK(view.payload_offset <= segment_bytes);
  FARSPAN_CHECK(view.payload_offset + view.payload_bytes() <= view.frame_bytes);
  FARSPAN_CHECK(view.dscp < 64 && view.ecn < 4 && view.pcp < 8 && view.vlan < 4096);
  if (view.malformed) FARSPAN_CHECK(view.payload_offset == 0);
  if (view.payload_offset == 0) FARSPAN_CHECK(!view.has_ports);
  if (view.ip_version == 0) {
    FARSPAN_CHECK(view.ip_bytes == 0 && view.ecn == 0 && view.payload_offset == 0);
  } else {
    FARSPAN_CHECK(view.ip_version == 4 || view.ip_version == 6);
    FARSPAN_CHECK(view.malformed || view.payload_offset > view.l3_offset);
    FARSPAN_CHECK(view.truncated == (view.l3_offset + view.ip_bytes > view.frame_bytes));
  }
  if (view.super_frame) FARSPAN_CHECK(std::max(view.frame_bytes, view.ip_bytes) > 1500);
  FrameView other = view;
  other.src_port ^= 1;
  if (view.fragment || !view.has_ports) FARSPAN_CHECK(FlowHash(other) == FlowHash(view));
}

// What lies behind the headers, and behind the frame, must not matter.
void CheckIndependence(Bytes frame, uint32_t frame_bytes, const FrameView& view) {
  if (view.payload_offset != 0) {
    for (size_t i = view.payload_offset; i < frame.size(); ++i) frame[i] ^= 0xff;
  }
  frame.resize(std::max<size_t>(frame.size(), frame_bytes) + 1, 0x55);
  const FrameView longer = ParseFrame(frame, frame_bytes, 1500);
  if (!view.malformed) FARSPAN_CHECK(Same(longer, view));
}

void CheckRules(const FrameView& view, uint64_t random) {
  RuleMatch exact;
  exact.ethertype = view.ethertype;
  exact.frame_size = SizeRange{view.frame_bytes, view.frame_bytes};
  if (view.tagged) exact.vlan = view.vlan;
  if (view.ip_version != 0) {
    const uint8_t bits = view.ip_version == 4 ? 32 : 128;
    exact.src = IpPrefix{view.src, static_cast<uint8_t>(random % (bits + 1u)), view.ip_version};
    exact.dst = IpPrefix{view.dst, bits, view.ip_version};
    exact.protocol = view.protocol;
    exact.dscp = view.dscp;
  }
  if (view.has_ports) {
    exact.src_port = PortRange{view.src_port, view.src_port};
    exact.dst_port = PortRange{0, view.dst_port};
  }
  std::vector<RuleMatch> rules(4, exact);
  rules[0].dscp = view.dscp ^ 1;
  if (random % 2 == 0) {
    rules[0].dscp.reset();
    rules[0].frame_size = SizeRange{view.frame_bytes + 1};
  }
  rules[1].start = 2;
  rules[2].until = TimeNs{10};
  Result<RuleTable> table = RuleTable::Create(rules, TimeNs{});
  FARSPAN_CHECK(table.has_value());
  FARSPAN_CHECK(table->match(view, TimeNs{9}) == 3);
  FARSPAN_CHECK(table->match(view, TimeNs{10}) == 2);
  rules[1].count = 1;
  table = RuleTable::Create(rules, TimeNs{});
  for (const int expected : {4, 2, 4}) FARSPAN_CHECK(table->match(view, TimeNs{10}) == expected);
}

uint32_t HeaderSum(const Bytes& frame, size_t offset) {
  const size_t header = size_t{4} * (frame[offset] & 15);
  uint32_t sum = 0;
  for (size_t i = 0; i < header; i += 2) sum += frame[offset + i] << 8 | frame[offset + i + 1];
  return sum % 0xffff;
}

void CheckMark(const Bytes& frame) {
  FrameView view = Parse(frame);
  Bytes marked = frame;
  const bool capable = view.ecn != 0;
  FARSPAN_CHECK(SetCe(marked) == capable);
  if (capable) view.ecn = 3;
  FARSPAN_CHECK(Same(Parse(marked), view));
  for (size_t i = 0; i < frame.size(); ++i) {
    const size_t at = i - view.l3_offset;
    const bool may = capable && (at == 1 || (view.ip_version == 4 && (at == 10 || at == 11)));
    FARSPAN_CHECK(may || marked[i] == frame[i]);
  }
  if (capable && view.ip_version == 4) {
    FARSPAN_CHECK(HeaderSum(marked, view.l3_offset) == HeaderSum(frame, view.l3_offset));
  }
  Bytes twice = marked;
  FARSPAN_CHECK(SetCe(twice) == capable && twice == marked);
}

void CheckCorruption(const Bytes& frame, uint64_t random) {
  const FrameView view = Parse(frame);
  Bytes corrupted = frame;
  FARSPAN_CHECK(CorruptPayload(corrupted, random) == (view.payload_bytes() != 0));
  int flipped = 0;
  for (size_t i = 0; i < frame.size(); ++i) {
    const int bits = __builtin_popcount(frame[i] ^ corrupted[i]);
    flipped += bits;
    FARSPAN_CHECK(bits == 0 ||
                  (i >= view.payload_offset && i < view.payload_offset + view.payload_bytes()));
  }
  FARSPAN_CHECK(flipped == (view.payload_bytes() != 0));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 8) return 0;
  uint64_t random = 0;
  std::memcpy(&random, data, sizeof random);
  const Bytes frame(data + 8, data + size);
  // As one segment, as the first of several, and with a length that ends before the bytes do.
  const uint32_t claims[] = {0, static_cast<uint32_t>(random % 3000),
                             static_cast<uint32_t>(random % 200'000)};
  for (const uint32_t extra : claims) {
    const auto frame_bytes = static_cast<uint32_t>(frame.size() + extra);
    const FrameView view = ParseFrame(frame, frame_bytes, 1500);
    CheckView(view, frame.size());
    CheckIndependence(frame, frame_bytes, view);
  }
  const auto cut = static_cast<uint32_t>(random >> 32) % static_cast<uint32_t>(frame.size() + 1);
  CheckView(ParseFrame(frame, cut, 1500), cut);
  CheckRules(Parse(frame), random);
  CheckMark(frame);
  CheckCorruption(frame, random);
  return 0;
}
