// Pause frames: octets against the standard and against tshark, headroom against sums by hand, the
// pacer's instants.
#include "emulator/roce/pause_frame.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "emulator/link/packet_ref.h"
#include "tests/support/execute.h"

namespace farspan::roce {
namespace {

using link::PfcFrame;
using link::PfcPacer;
using namespace farspan::literals;

constexpr MacAddress kSource{0x02, 0x11, 0x22, 0x33, 0x44, 0x55};

TEST(PauseFrame, OctetsOfTheStandard) {
  PfcFrame frame{.enabled = 0x09};
  frame.quanta[0] = 0x0102;
  frame.quanta[3] = 0xfffe;
  const auto bytes = EncodePfc(frame, kSource);
  const std::vector<uint8_t> expected{0x01, 0x80, 0xc2, 0x00, 0x00, 0x01, 0x02, 0x11, 0x22,
                                      0x33, 0x44, 0x55,                    // addresses
                                      0x88, 0x08, 0x01, 0x01, 0x00, 0x09,  // type, opcode, vector
                                      0x01, 0x02, 0,    0,    0,    0,    0xff, 0xfe, 0,
                                      0,    0,    0,    0,    0,    0,    0};  // quanta 0 to 7
  ASSERT_EQ(bytes.size(), 60u);
  EXPECT_TRUE(std::equal(expected.begin(), expected.end(), bytes.begin()));
  for (size_t i = expected.size(); i < bytes.size(); ++i) EXPECT_EQ(bytes[i], 0) << "padding";
  EXPECT_EQ(ParsePause(bytes), frame);
  EXPECT_EQ(link::WireBytes(bytes.size()), link::kPauseWireBytes);
}

TEST(PauseFrame, WhatIsNoneOrCutShort) {
  PfcFrame frame{.enabled = 0xff};
  const auto good = EncodePfc(frame, kSource);
  for (size_t size = 0; size < 34; ++size) {
    EXPECT_EQ(ParsePause(std::span(good).first(size)), std::nullopt) << size;
  }
  EXPECT_NE(ParsePause(std::span(good).first(34)), std::nullopt);
  auto other = good;
  other[15] = 0x02;  // opcode 0x0102
  EXPECT_TRUE(IsMacControl(other));
  EXPECT_EQ(ParsePause(other), std::nullopt);
  other[12] = 0x08;
  EXPECT_FALSE(IsMacControl(other));
  // PAUSE of 802.3x: all priorities.
  auto pause = good;
  pause[14] = 0x00;
  pause[16] = 0x12;
  pause[17] = 0x34;
  const auto read = ParsePause(pause);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->enabled, 0xff);
  for (const uint16_t quanta : read->quanta) EXPECT_EQ(quanta, 0x1234);
}

void StoreLe32(std::ofstream& out, uint32_t value) {
  for (int i = 0; i < 4; ++i) out.put(static_cast<char>(value >> 8 * i));
}

// libpcap's classic format, one frame.
void WritePcap(const std::string& file, std::span<const uint8_t> bytes) {
  std::ofstream out(file, std::ios::binary);
  for (const uint32_t word : {0xa1b2c3d4u, 0x00040002u, 0u, 0u, 65'535u, 1u}) StoreLe32(out, word);
  const auto size = static_cast<uint32_t>(bytes.size());
  for (const uint32_t word : {0u, 0u, size, size}) StoreLe32(out, word);
  out.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(size));
}

TEST(PauseFrame, TsharkReadsWhatIsMeant) {
  if (test::Execute("command -v tshark 2>&1").exit_code != 0) {
    ASSERT_EQ(std::getenv("FARSPAN_REQUIRE_LAB"), nullptr) << "tshark is not installed";
    GTEST_SKIP() << "tshark is not installed";
  }
  PfcFrame frame{.enabled = 0x88};
  frame.quanta[3] = 65'535;
  const std::string file = testing::TempDir() + "farspan_pfc.pcap";
  WritePcap(file, EncodePfc(frame, kSource));
  const std::string text = test::Execute("tshark -n -V -r " + file + " 2>/dev/null").output;
  for (const char* line :
       {"Destination: 01:80:c2:00:00:01", "Source: 02:11:22:33:44:55", "Type: MAC Control (0x8808)",
        "Opcode: Class Based Flow Control [CBFC] Pause (0x0101)",
        "CBFC Class Enable Vector: 0x0088, C3, C7", "CBFC Class Pause Times", "C3: 65535",
        "C7: 0"}) {
    EXPECT_NE(text.find(line), std::string::npos) << line << "\nin\n" << text;
  }
}

// --- Headroom --------------------------------------------------------------------------------

link::PfcSpec At(Rate rate) {
  return {.line_rate = rate,
          .max_frame_bytes = 4'242,
          .cable = {100'000},
          .reaction = link::PfcReaction(rate),
          .poll_gap = 20_us};
}

// 100 m of glass are 489.7 ns: 490.
TEST(PfcHeadroom, IsTheSumOfItsTerms) {
  EXPECT_EQ(link::PfcHeadroom(At(100_gbps)), 3 * 4'242u      // crossing, in the way, begun
                                                 + 84        // the pause frame
                                                 + 250'000   // 20 us
                                                 + 12'250    // 2 x 490 ns
                                                 + 25'225);  // 394 quanta: 2,017.28 ns, up to 2,018
  EXPECT_EQ(link::PfcHeadroom(At(400_gbps)),
            3 * 4'242u + 84 + 1'000'000 + 49'000 + 57'950);  // 905 quanta: 1,158.4 ns, up to 1,159
  const auto terms = link::PfcHeadroomTerms(At(100_gbps));
  EXPECT_EQ(terms.size(), 7u);
}

TEST(PfcReaction, IsTheStandards) {
  EXPECT_EQ(link::PfcReaction(10_gbps), 3'072_ns);  // 60 quanta of 51.2 ns
  EXPECT_EQ(link::PfcReaction(25_gbps), 1'639_ns);  // 80 of 20.48
  EXPECT_EQ(link::PfcReaction(40_gbps), 1'511_ns);
  EXPECT_EQ(link::PfcReaction(100_gbps), 2'018_ns);
  EXPECT_EQ(link::PfcReaction(400_gbps), 1'159_ns);
  EXPECT_EQ(link::PfcReaction(800_gbps), 1'159_ns);
  EXPECT_EQ(link::QuantaTime(65'535, 100_gbps), 335'539_ns);
}

// --- Pacer -----------------------------------------------------------------------------------

PfcPacer Pacer() {
  std::array<uint16_t, 8> quanta{};
  quanta[3] = 65'535;  // 335,539 ns at 100G
  quanta[4] = 1'000;   // 5,120 ns
  return {quanta, 100_gbps};
}

TEST(PfcPacer, SaysAPauseAtOnceAndAgainBeforeItEnds) {
  PfcPacer pacer = Pacer();
  EXPECT_EQ(pacer.next_deadline(), kNever);
  pacer.want(1_us, 3, true);
  EXPECT_EQ(pacer.next_deadline(), 1_us);
  PfcFrame frame = pacer.take(2_us);
  EXPECT_EQ(frame.enabled, 1 << 3);
  EXPECT_EQ(frame.quanta[3], 65'535);
  EXPECT_EQ(pacer.next_deadline(), 2_us + TimeNs{335'539 / 2});
  EXPECT_EQ(pacer.take(3_us).enabled, 0);
  EXPECT_EQ(pacer.take(200_us).quanta[3], 65'535);
  pacer.want(210_us, 3, false);
  frame = pacer.take(210_us);
  EXPECT_EQ(frame.enabled, 1 << 3);
  EXPECT_EQ(frame.quanta[3], 0);
  EXPECT_EQ(pacer.next_deadline(), kNever);
}

TEST(PfcPacer, ASecondPriorityGoesWithItsOwnTime) {
  PfcPacer pacer = Pacer();
  pacer.want(0_us, 3, true);
  pacer.want(0_us, 4, true);
  EXPECT_EQ(pacer.take(0_us).enabled, 1 << 3 | 1 << 4);
  EXPECT_EQ(pacer.next_deadline(), 2'560_ns);
  EXPECT_EQ(pacer.take(2'560_ns).enabled, 1 << 4);
}

TEST(PfcPacer, WhatWasNeverToldIsNotTakenBack) {
  PfcPacer pacer = Pacer();
  pacer.want(0_us, 3, true);
  pacer.want(1_us, 3, false);
  EXPECT_EQ(pacer.next_deadline(), kNever);
  // Told, withdrawn and asked again before anyone looked: the sender hears it once more.
  pacer.want(2_us, 3, true);
  pacer.take(2_us);
  pacer.want(3_us, 3, false);
  pacer.want(4_us, 3, true);
  EXPECT_EQ(pacer.next_deadline(), 4_us);
  EXPECT_EQ(pacer.take(4_us).quanta[3], 65'535);
}

}  // namespace
}  // namespace farspan::roce
