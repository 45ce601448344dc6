// The table of opcodes, by built packets; every malformed shape and its cause; every prefix; the
// ICRC against two published packets (as scapy's tests have them, one of them captured from a
// ConnectX-4 Lx) and against a bitwise reference.
#include "emulator/roce/roce_view.h"

#include <gtest/gtest.h>

#include "tests/support/roce_builder.h"

namespace farspan::roce {
namespace {

using test::BuildRoce;
using test::Bytes;
using test::FrameSpec;
using test::RoceSpec;

struct Parsed {
  FrameView frame;
  RoceView roce;
};

Parsed Parse(const Bytes& bytes) {
  const FrameView frame = ParseFrame(bytes, static_cast<uint32_t>(bytes.size()), 0);
  return {frame, ParseRoce(bytes, frame)};
}

struct OpcodeCase {
  uint8_t opcode;
  size_t payload;
  Service service;
  OpcodeClass opcode_class;
  Position position;
};

using S = Service;
using C = OpcodeClass;
using P = Position;

const std::vector<OpcodeCase> kOpcodes{
    {0x00, 256, S::kRc, C::kSend, P::kFirst},
    {0x01, 512, S::kRc, C::kSend, P::kMiddle},
    {0x02, 1, S::kRc, C::kSend, P::kLast},
    {0x03, 4096, S::kRc, C::kSend, P::kLast},
    {0x04, 0, S::kRc, C::kSend, P::kOnly},
    {0x05, 3, S::kRc, C::kSend, P::kOnly},
    {0x06, 4096, S::kRc, C::kWrite, P::kFirst},
    {0x07, 1024, S::kRc, C::kWrite, P::kMiddle},
    {0x08, 2, S::kRc, C::kWrite, P::kLast},
    {0x09, 5, S::kRc, C::kWrite, P::kLast},
    {0x0a, 0, S::kRc, C::kWrite, P::kOnly},
    {0x0b, 4095, S::kRc, C::kWrite, P::kOnly},
    {0x0c, 0, S::kRc, C::kReadRequest, P::kOnly},
    {0x0d, 2048, S::kRc, C::kReadResponse, P::kFirst},
    {0x0e, 2048, S::kRc, C::kReadResponse, P::kMiddle},
    {0x0f, 7, S::kRc, C::kReadResponse, P::kLast},
    {0x10, 0, S::kRc, C::kReadResponse, P::kOnly},
    {0x11, 0, S::kRc, C::kAck, P::kOnly},
    {0x12, 0, S::kRc, C::kAtomicAck, P::kOnly},
    {0x13, 0, S::kRc, C::kAtomic, P::kOnly},
    {0x14, 0, S::kRc, C::kAtomic, P::kOnly},
    {0x16, 9, S::kRc, C::kSend, P::kLast},
    {0x17, 0, S::kRc, C::kSend, P::kOnly},
    {0x1c, 0, S::kRc, C::kFlush, P::kOnly},
    {0x1d, 8, S::kRc, C::kAtomic, P::kOnly},
    {0x20, 1024, S::kUc, C::kSend, P::kFirst},
    {0x2b, 6, S::kUc, C::kWrite, P::kOnly},
    {0x64, 256, S::kUd, C::kDatagram, P::kOnly},
    {0x65, 100, S::kUd, C::kDatagram, P::kOnly},
    {0x81, 16, S::kCnp, C::kCnp, P::kOnly},
    {0xa6, 1024, S::kXrc, C::kWrite, P::kFirst},
    {0xac, 0, S::kXrc, C::kReadRequest, P::kOnly},
    {0xb1, 0, S::kXrc, C::kAck, P::kOnly},
};

const std::vector<FrameSpec> kFrames{{},
                                     {.tags = {{7, 3}}},
                                     {.tags = {{7, 3, 0x88a8}, {8, 3}}},
                                     {.ip_version = 6},
                                     {.tags = {{7, 3}}, .ip_version = 6, .dscp = 26, .ecn = 2}};

TEST(RoceView, ReadsEveryOpcodeOverBothIpVersions) {
  for (const FrameSpec& frame : kFrames) {
    for (const OpcodeCase& c : kOpcodes) {
      SCOPED_TRACE(testing::Message() << "opcode " << int{c.opcode} << " ip " << frame.ip_version);
      const Bytes bytes = BuildRoce({.frame = frame,
                                     .opcode = c.opcode,
                                     .dest_qp = 0xabcdef,
                                     .psn = 0x123456,
                                     .ack_request = true,
                                     .payload_bytes = c.payload,
                                     .dma_length = 0x01020304,
                                     .syndrome = 0x1f,
                                     .msn = 0x654321,
                                     .src_qp = 0x112233});
      const auto [view, roce] = Parse(bytes);
      ASSERT_EQ(ToText(roce.fault), "none");
      EXPECT_EQ(roce.opcode, c.opcode);
      EXPECT_EQ(roce.service, c.service);
      EXPECT_EQ(roce.opcode_class, c.opcode_class);
      EXPECT_EQ(roce.position, c.position);
      EXPECT_EQ(roce.payload_bytes, c.payload);
      EXPECT_EQ(roce.dest_qp, 0xabcdefu);
      EXPECT_EQ(roce.psn, 0x123456u);
      EXPECT_TRUE(roce.ack_request);
      EXPECT_EQ(roce.icrc_offset() + 4, bytes.size());
      const bool reth = c.opcode_class == C::kReadRequest || c.opcode_class == C::kFlush ||
                        c.opcode == 0x1d ||
                        (c.opcode_class == C::kWrite && StartsMessage(c.position));
      EXPECT_EQ(roce.dma_length, reth ? 0x01020304u : 0u);
      const bool aeth = IsResponse(c.opcode_class) && c.position != P::kMiddle;
      EXPECT_EQ(roce.msn, aeth ? 0x654321u : 0u);
      EXPECT_EQ(roce.ack, aeth ? AckKind::kAck : AckKind::kNone);
      EXPECT_EQ(roce.src_qp, c.service == S::kUd ? 0x112233u : 0u);
      EXPECT_EQ(ComputeIcrc(bytes, view, roce), ReadIcrc(bytes, roce));
    }
  }
}

TEST(RoceView, KnowsNoOtherOpcodes) {
  int known = 0;
  for (int opcode = 0; opcode < 256; ++opcode) {
    const Bytes bytes = BuildRoce({.opcode = static_cast<uint8_t>(opcode)});
    known += Parse(bytes).roce.fault != RoceFault::kOpcode;
  }
  EXPECT_EQ(known, 25 + 12 + 2 + 1 + 25);  // RC, UC, UD, CNP, XRC
}

TEST(RoceView, ReadsSyndromes) {
  const auto kind = [](uint8_t syndrome) {
    return ToText(Parse(BuildRoce({.opcode = 0x11, .syndrome = syndrome})).roce.ack);
  };
  EXPECT_EQ(kind(0x00), "ack");
  EXPECT_EQ(kind(0x1f), "ack");  // no credits said
  EXPECT_EQ(kind(0x20), "rnr_nak");
  EXPECT_EQ(kind(0x3f), "rnr_nak");
  EXPECT_EQ(kind(0x40), "reserved");
  EXPECT_EQ(kind(0x60), "psn_sequence_error");
  EXPECT_EQ(kind(0x61), "invalid_request");
  EXPECT_EQ(kind(0x62), "remote_access_error");
  EXPECT_EQ(kind(0x63), "remote_operational_error");
  EXPECT_EQ(kind(0x64), "invalid_rd_request");
  EXPECT_EQ(kind(0x65), "reserved");
  EXPECT_EQ(kind(0x80), "reserved");
}

// Frames to which something was done afterwards; offsets are those of an untagged IPv4 frame.
struct BrokenCase {
  RoceFault fault;
  RoceSpec spec;
  void (*damage)(Bytes&) = nullptr;
};

constexpr size_t kUdp = 34;
constexpr size_t kBth = 42;

// As if the packet had `bytes` of UDP payload, all lengths agreeing.
void Shorten(Bytes& frame, size_t bytes) {
  frame.resize(kBth + bytes);
  test::internal::Store16(frame, 16, static_cast<uint16_t>(28 + bytes));
  test::internal::Store16(frame, kUdp + 4, static_cast<uint16_t>(8 + bytes));
}

const std::vector<BrokenCase> kBroken{
    {RoceFault::kNotRoce, {.frame = {.dst_port = 4790}}},
    {RoceFault::kNotRoce, {.frame = {.src_port = 4791, .dst_port = 1}}},
    {RoceFault::kNotRoce, {}, [](Bytes& f) { f[23] = 132; }},           // SCTP
    {RoceFault::kNotRoce, {}, [](Bytes& f) { f[20] = 0, f[21] = 9; }},  // a later fragment
    {RoceFault::kFragment, {}, [](Bytes& f) { f[20] = 0x20; }},         // the first one
    {RoceFault::kIpHeader, {.frame = {.ipv4_option_bytes = 4}}},
    {RoceFault::kIpHeader, {.frame = {.ip_version = 6, .extensions = {{60, 8}}}}},
    {RoceFault::kTruncatedFrame, {.payload_bytes = 64}, [](Bytes& f) { f.pop_back(); }},
    {RoceFault::kUdpLength, {.payload_bytes = 64}, [](Bytes& f) { --f[kUdp + 5]; }},
    {RoceFault::kUdpLength, {.payload_bytes = 64}, [](Bytes& f) { ++f[kUdp + 5]; }},
    {RoceFault::kUdpLength, {}, [](Bytes& f) { f[kUdp + 4] = f[kUdp + 5] = 0; }},
    {RoceFault::kTruncatedBth, {}, [](Bytes& f) { Shorten(f, 0); }},
    {RoceFault::kTruncatedBth, {}, [](Bytes& f) { Shorten(f, 11); }},
    {RoceFault::kTruncatedHeaders, {}, [](Bytes& f) { Shorten(f, 12); }},
    {RoceFault::kTruncatedHeaders, {}, [](Bytes& f) { Shorten(f, 15); }},
    {RoceFault::kTruncatedHeaders, {.opcode = 0x0c}, [](Bytes& f) { Shorten(f, 31); }},
    {RoceFault::kTruncatedHeaders, {.opcode = 0x11}, [](Bytes& f) { Shorten(f, 16); }},
    {RoceFault::kVersion, {}, [](Bytes& f) { f[kBth + 1] |= 1; }},
    {RoceFault::kOpcode, {}, [](Bytes& f) { f[kBth] = 0x15; }},
    {RoceFault::kOpcode, {}, [](Bytes& f) { f[kBth] = 0x44; }},  // RD
    {RoceFault::kOpcode, {}, [](Bytes& f) { f[kBth] = 0x80; }},
    {RoceFault::kOpcode, {}, [](Bytes& f) { f[kBth] = 0xc4; }},  // a vendor's
    {RoceFault::kPadCount, {}, [](Bytes& f) { f[kBth + 1] |= 0x10; }},
    {RoceFault::kPadCount, {.payload_bytes = 4}, [](Bytes& f) { Shorten(f, 19); }},
    {RoceFault::kPadCount, {.opcode = 0, .payload_bytes = 255}},
    {RoceFault::kPayloadLength, {.opcode = 0x11, .payload_bytes = 4}},
    {RoceFault::kPayloadLength, {.opcode = 0x0c, .payload_bytes = 8}},
    {RoceFault::kPayloadLength, {.opcode = 0x02}},
    {RoceFault::kPayloadLength, {.opcode = 0x04, .payload_bytes = 4100}},
    {RoceFault::kPayloadLength, {.opcode = 0x00, .payload_bytes = 128}},
    {RoceFault::kPayloadLength, {.opcode = 0x01, .payload_bytes = 1000}},
    {RoceFault::kPayloadLength, {.opcode = 0x0e, .payload_bytes = 8192}},
    {RoceFault::kPayloadLength, {.opcode = 0x81, .payload_bytes = 12}},
    {RoceFault::kPayloadLength, {.opcode = 0x1d, .payload_bytes = 4}},
};

TEST(RoceView, SaysWhyAPacketIsNone) {
  for (size_t i = 0; i < kBroken.size(); ++i) {
    Bytes bytes = BuildRoce(kBroken[i].spec);
    if (kBroken[i].damage != nullptr) kBroken[i].damage(bytes);
    const RoceView roce = Parse(bytes).roce;
    EXPECT_EQ(ToText(roce.fault), ToText(kBroken[i].fault)) << "case " << i;
    EXPECT_EQ(roce.opcode_class, OpcodeClass::kNone);
  }
}

// Cut anywhere, a packet is none; a first segment is one as soon as it holds the headers.
TEST(RoceView, ReadsNothingBehindTheEnd) {
  for (const FrameSpec& frame : kFrames) {
    for (const OpcodeCase& c : kOpcodes) {
      const Bytes whole =
          BuildRoce({.frame = frame, .opcode = c.opcode, .payload_bytes = c.payload});
      const RoceView roce = Parse(whole).roce;
      for (size_t size = 0; size < std::min<size_t>(whole.size(), 160); ++size) {
        const Bytes cut(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(size));
        EXPECT_NE(Parse(cut).roce.fault, RoceFault::kNone);
        const FrameView view = ParseFrame(cut, static_cast<uint32_t>(whole.size()), 0);
        EXPECT_EQ(ParseRoce(cut, view).fault == RoceFault::kNone, size >= roce.payload_offset);
      }
    }
  }
}

TEST(RoceView, EthernetPaddingIsNotPayload) {
  Bytes bytes = BuildRoce({.payload_bytes = 4});
  bytes.resize(bytes.size() + 10, 0xaa);
  const RoceView roce = Parse(bytes).roce;
  EXPECT_EQ(roce.fault, RoceFault::kNone);
  EXPECT_EQ(roce.payload_bytes, 4);
}

// UC SEND Only, and a CNP of a ConnectX-4 Lx.
const std::vector<Bytes> kPublished{
    {0x24, 0x8a, 0x07, 0xa8, 0xfa, 0x22, 0x24, 0x8a, 0x07, 0xa8, 0xfa, 0x22, 0x08, 0x00, 0x45, 0x01,
     0x00, 0x40, 0x04, 0x78, 0x40, 0x00, 0x40, 0x11, 0xb4, 0xd5, 0xc0, 0xa8, 0x00, 0x07, 0xc0, 0xa8,
     0x00, 0x07, 0xc0, 0x00, 0x12, 0xb7, 0x00, 0x2c, 0xac, 0xa2, 0x24, 0x60, 0xff, 0xff, 0x00, 0x00,
     0x00, 0xd3, 0x00, 0xcf, 0x17, 0x10, 0x46, 0x30, 0x81, 0x8b, 0xe2, 0x89, 0x35, 0xd9, 0x0e, 0x9a,
     0x95, 0x50, 0x54, 0x01, 0xbe, 0x88, 0x5e, 0x50, 0x00, 0x00, 0x78, 0xf3, 0x53, 0xf3},
    {0xe4, 0x1d, 0x2d, 0xab, 0x2b, 0xc2, 0x7c, 0xfe, 0x90, 0x64, 0x3b, 0x32, 0x08, 0x00, 0x45,
     0xc2, 0x00, 0x3c, 0x71, 0x8c, 0x40, 0x00, 0x40, 0x11, 0x91, 0x61, 0x0a, 0x00, 0x11, 0x01,
     0x0a, 0x00, 0x12, 0x01, 0x00, 0x00, 0x12, 0xb7, 0x00, 0x28, 0x00, 0x00, 0x81, 0x00, 0xff,
     0xff, 0x40, 0x00, 0x01, 0x18, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
     0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x82, 0xfd, 0x00, 0x2a}};

TEST(Icrc, IsThatOfPublishedPackets) {
  for (Bytes bytes : kPublished) {
    const auto [view, roce] = Parse(bytes);
    ASSERT_EQ(ToText(roce.fault), "none");
    EXPECT_EQ(ComputeIcrc(bytes, view, roce), ReadIcrc(bytes, roce));
    bytes[roce.bth_offset + 11u] ^= 1;  // the twin: another PSN
    EXPECT_NE(ComputeIcrc(bytes, view, roce), ReadIcrc(bytes, roce));
  }
}

// What routers change is not covered; every other bit from the IP header to the ICRC is.
TEST(Icrc, CoversAllButWhatRoutersChange) {
  for (const FrameSpec& frame : kFrames) {
    const Bytes bytes = BuildRoce({.frame = frame, .opcode = 0x0a, .payload_bytes = 33});
    const auto [view, roce] = Parse(bytes);
    const uint32_t good = ReadIcrc(bytes, roce);
    const size_t l3 = view.l3_offset;
    const bool v4 = view.ip_version == 4;
    for (size_t at = l3; at < roce.icrc_offset(); ++at) {
      const size_t ip = at - l3;
      const bool free =
          v4 ? ip == 1 || ip == 8 || ip == 10 || ip == 11 : (ip >= 1 && ip <= 3) || ip == 7;
      const bool udp_checksum = at == roce.bth_offset - 2u || at == roce.bth_offset - 1u;
      const bool reserved = at == roce.bth_offset + 4u;
      Bytes changed = bytes;
      changed[at] ^= 0x80;
      EXPECT_EQ(ComputeIcrc(changed, view, roce) == good, free || udp_checksum || reserved) << at;
    }
  }
}

TEST(Psn, DistancesWrap) {
  EXPECT_EQ(PsnDistance(5, 3), 2);
  EXPECT_EQ(PsnDistance(1, 0xffffff), 2);
  EXPECT_EQ(PsnDistance(0xffffff, 1), -2);
  EXPECT_EQ(PsnDistance(0x800000, 0), -(1 << 23));
  EXPECT_EQ(PsnDistance(0x7fffff, 0), (1 << 23) - 1);
  EXPECT_EQ(PsnAdd(0xfffffe, 3), 1u);
}

}  // namespace
}  // namespace farspan::roce
