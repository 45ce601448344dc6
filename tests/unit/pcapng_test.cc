// The capture writer, read back by a reader of its own and by Wireshark's tools.
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <random>
#include <thread>

#include "emulator/dpdk/pcapng_writer.h"
#include "tests/support/pcapng_reader.h"

namespace farspan::dpdk {
namespace {

using namespace farspan::test;

constexpr int64_t kUnixAtZero = 1'700'000'000'000'000'000;

// --- Fixture -----------------------------------------------------------------------------------

class Capture : public testing::Test {
 protected:
  Capture() {
    char name[] = "/tmp/farspan-pcapng-XXXXXX";
    const int fd = mkstemp(name);
    EXPECT_GE(fd, 0);
    if (fd >= 0) close(fd);
    options_.path = name;
    options_.interfaces = {{"veth-a", "site a"}, {"veth-b", ""}};
    options_.unix_ns_at_zero = kUnixAtZero;
    options_.ring_bytes = 1 << 16;
  }
  ~Capture() override { std::filesystem::remove(options_.path); }

  std::unique_ptr<CaptureWriter> create() {
    auto writer = CaptureWriter::Create(options_);
    EXPECT_TRUE(writer) << writer.error().text();
    return *std::move(writer);
  }
  static void finish(CaptureWriter& writer) {
    std::stop_source stop;
    stop.request_stop();
    const Result<void> result = writer.run(stop.get_token());
    EXPECT_TRUE(result) << result.error().text();
  }
  std::vector<Block> blocks() const { return ReadFile(options_.path); }

  CaptureOptions options_;
};

CaptureRecord In(int64_t at_ns, uint64_t id, size_t frame_bytes) {
  return {.at = {at_ns}, .packet_id = id, .frame_bytes = static_cast<uint32_t>(frame_bytes)};
}

CaptureRecord Out(int64_t at_ns, uint64_t id, size_t frame_bytes) {
  return {.at = {at_ns},
          .ingress = {1'000},
          .due = {2'449'000},
          .packet_id = id,
          .frame_bytes = static_cast<uint32_t>(frame_bytes),
          .interface = 1,
          .outbound = true};
}

// --- Tests -------------------------------------------------------------------------------------

TEST_F(Capture, WritesWhatTheDraftSays) {
  options_.snap_bytes = 61;
  const Bytes frame = test::BuildFrame({.payload_bytes = 100});
  const auto writer = create();
  EXPECT_TRUE(writer->producer(0).offer(In(1'000, 7, frame.size()), frame));
  EXPECT_TRUE(writer->producer(0).offer(Out(2'449'812, 7, frame.size()), frame));
  finish(*writer);

  const std::vector<Block> all = blocks();
  ASSERT_EQ(all.size(), 7u);  // section, 2 interfaces, 2 packets, 2 statistics
  EXPECT_EQ(all[0].type, 0x0a0d0d0au);
  EXPECT_EQ(Read<uint32_t>(all[0].body, 0), 0x1a2b3c4du);
  EXPECT_EQ(Read<uint16_t>(all[0].body, 4), 1);
  EXPECT_EQ(Read<uint16_t>(all[0].body, 6), 0);
  EXPECT_EQ(Read<int64_t>(all[0].body, 8), -1);
  EXPECT_EQ(Text(all[0], 4), "farspan-emulator");

  const char* names[] = {"veth-a", "veth-b"};
  const char* descriptions[] = {"site a", ""};
  for (size_t i = 0; i < 2; ++i) {
    const Block& interface = all[1 + i];
    EXPECT_EQ(interface.type, 1u);
    EXPECT_EQ(Read<uint16_t>(interface.body, 0), 1);  // Ethernet
    EXPECT_EQ(Read<uint32_t>(interface.body, 4), 61u);
    EXPECT_EQ(Text(interface, 2), names[i]);
    EXPECT_EQ(Text(interface, 3), descriptions[i]);
    EXPECT_EQ(Value<uint8_t>(interface, 9), 9);
    ASSERT_TRUE(interface.options.contains(13));
    EXPECT_EQ(Value<uint8_t>(interface, 13), 0);
  }

  const uint64_t stamps[] = {kUnixAtZero + 1'000, kUnixAtZero + 2'449'812};
  for (size_t i = 0; i < 2; ++i) {
    const Block& packet = all[3 + i];
    EXPECT_EQ(packet.type, 6u);
    EXPECT_EQ(Read<uint32_t>(packet.body, 0), i);
    EXPECT_EQ(ReadTime(packet.body, 4), stamps[i]);
    EXPECT_EQ(Read<uint32_t>(packet.body, 12), 61u);
    EXPECT_EQ(Read<uint32_t>(packet.body, 16), frame.size());
    EXPECT_TRUE(std::equal(frame.begin(), frame.begin() + 61, packet.body.begin() + 20));
    EXPECT_EQ(Value<uint32_t>(packet, 2), i + 1);  // inbound, outbound
    EXPECT_EQ(Value<uint64_t>(packet, 5), 7u);
    EXPECT_FALSE(packet.options.contains(4));
  }
  EXPECT_FALSE(all[3].options.contains(1));
  EXPECT_EQ(Text(all[4], 1), "delayed 2.448812 ms, due 1700000000.002449000, late 812 ns");

  for (size_t i = 0; i < 2; ++i) {
    const Block& statistics = all[5 + i];
    EXPECT_EQ(statistics.type, 5u);
    EXPECT_EQ(Read<uint32_t>(statistics.body, 0), i);
    EXPECT_EQ(ReadTime(statistics.body, 4), stamps[1]);
    EXPECT_EQ(ReadTime(statistics.options.at(2), 0), stamps[0]);
    EXPECT_EQ(ReadTime(statistics.options.at(3), 0), stamps[1]);
    EXPECT_EQ(Value<uint64_t>(statistics, 4), 1u);
    EXPECT_EQ(Value<uint64_t>(statistics, 5), 0u);
    EXPECT_EQ(Value<uint64_t>(statistics, 8), 1u);
  }
}

TEST_F(Capture, EveryLengthIsPadded) {
  const auto writer = create();
  for (uint8_t size = 0; size < 9; ++size) {
    const Bytes frame(size, size);
    EXPECT_TRUE(writer->producer(0).offer(In(size, size, size), frame));
  }
  finish(*writer);
  const auto packets = OfType(blocks(), 6);
  ASSERT_EQ(packets.size(), 9u);
  for (size_t size = 0; size < 9; ++size) {
    EXPECT_EQ(Read<uint32_t>(packets[size].body, 12), size);
    for (size_t i = 0; i < size; ++i) EXPECT_EQ(packets[size].body[20 + i], size);
  }
}

TEST(CaptureComment, SaysTheVerdict) {
  const auto out = [](uint8_t flags, link::Cause cause = link::Cause::kNone, uint8_t rule = 0) {
    CaptureRecord record = Out(2'449'000, 1, 60);
    record.flags = flags;
    record.cause = cause;
    record.rule = rule;
    return CaptureComment(record, kUnixAtZero);
  };
  const std::string delayed = "delayed 2.448 ms, due 1700000000.002449000, late 0 ns";
  EXPECT_EQ(out(0), delayed);
  EXPECT_EQ(out(link::kEcnCapable), delayed);
  EXPECT_EQ(out(link::kMarked), delayed + ", marked CE");
  EXPECT_EQ(out(link::kMarked | link::kCorrupted | link::kDuplicate),
            delayed + ", marked CE, corrupted, duplicate");
  EXPECT_EQ(out(0, link::Cause::kNone, 4), delayed + ", rule 3");
  EXPECT_EQ(out(link::kDropped, link::Cause::kLoss), "dropped: loss");
  EXPECT_EQ(out(link::kDropped | link::kMarked, link::Cause::kFault, 1),
            "dropped: fault, marked CE, rule 0");
  EXPECT_EQ(out(link::kDropped, link::Cause::kStoreFull), "own drop: store_full");
  CaptureRecord in = In(5, 1, 60);
  EXPECT_EQ(CaptureComment(in, kUnixAtZero), "");
  in.rule = 2;
  EXPECT_EQ(CaptureComment(in, kUnixAtZero), "rule 1");
}

TEST_F(Capture, AFullRingLosesCountsAndSaysWhere) {
  options_.ring_bytes = 1 << 10;
  const auto writer = create();
  const Bytes frame(100, 1);
  CaptureProducer& producer = writer->producer(0);
  uint64_t taken = 0;
  for (uint64_t i = 0; i < 50; ++i) taken += producer.offer(In(1, i, frame.size()), frame);
  ASSERT_GT(taken, 2u);
  ASSERT_LT(taken, 10u);  // 1 KiB holds no more
  EXPECT_FALSE(producer.offer(Out(2'449'000, 50, frame.size()), frame));

  std::stop_source stop;
  std::jthread thread([&] { EXPECT_TRUE(writer->run(stop.get_token())); });
  uint64_t more = 0;
  while (!producer.offer(In(2, 51, frame.size()), frame)) ++more;
  stop.request_stop();
  thread.join();

  const auto packets = OfType(blocks(), 6);
  ASSERT_EQ(packets.size(), taken + 1);
  for (size_t i = 0; i < taken; ++i) EXPECT_FALSE(packets[i].options.contains(4));
  EXPECT_EQ(Value<uint64_t>(packets.back(), 4), 50 - taken + more);
  const auto statistics = OfType(blocks(), 5);
  ASSERT_EQ(statistics.size(), 2u);
  EXPECT_EQ(Value<uint64_t>(statistics[0], 4), 51 + more);
  EXPECT_EQ(Value<uint64_t>(statistics[0], 5), 50 - taken + more);
  EXPECT_EQ(Value<uint64_t>(statistics[0], 8), taken + 1);
  EXPECT_EQ(Value<uint64_t>(statistics[1], 4), 1u);
  EXPECT_EQ(Value<uint64_t>(statistics[1], 5), 1u);
  EXPECT_EQ(Value<uint64_t>(statistics[1], 8), 0u);
}

TEST_F(Capture, AtItsLimitItStopsAndTheFileStaysWhole) {
  options_.max_bytes = 2'000;
  const auto writer = create();
  const Bytes frame(100, 1);
  for (uint64_t i = 0; i < 100; ++i) {
    EXPECT_TRUE(writer->producer(0).offer(In(1, i, frame.size()), frame));
  }
  finish(*writer);
  const CaptureCounts counts = writer->counts(0);
  EXPECT_EQ(counts.offered, 100u);
  EXPECT_EQ(counts.lost + counts.written, 100u);
  EXPECT_EQ(OfType(blocks(), 6).size(), counts.written);
  EXPECT_EQ(Value<uint64_t>(OfType(blocks(), 5)[0], 5), counts.lost);
  // One packet may pass the limit, and the statistics come on top.
  const uintmax_t size = std::filesystem::file_size(options_.path);
  EXPECT_GE(size, 2'000u);
  EXPECT_LE(size, 2'000u + 160 + 2 * 100);
}

TEST_F(Capture, SeveralProducersReconcileUnderPressure) {
  constexpr uint64_t kRecords = 20'000;
  options_.producers = 2;
  options_.ring_bytes = 1 << 13;
  const auto writer = create();
  std::stop_source stop;
  std::jthread thread([&] { EXPECT_TRUE(writer->run(stop.get_token())); });
  std::vector<std::jthread> lcores;
  for (size_t p = 0; p < 2; ++p) {
    lcores.emplace_back([&, p] {
      std::minstd_rand random(static_cast<unsigned>(p + 1));
      for (uint64_t i = 0; i < kRecords; ++i) {
        const auto size = static_cast<size_t>(random() % 200);
        const Bytes frame(size, static_cast<uint8_t>(size));
        CaptureRecord record = In(static_cast<int64_t>(i), i, size);
        record.interface = static_cast<uint16_t>(p);
        writer->producer(p).offer(record, frame);
        if (i % 64 == 0) std::this_thread::sleep_for(std::chrono::microseconds(50));
      }
    });
  }
  lcores.clear();
  stop.request_stop();
  thread.join();

  const auto packets = OfType(blocks(), 6);
  const auto statistics = OfType(blocks(), 5);
  std::array<uint64_t, 2> written{};
  std::array<uint64_t, 2> lost{};
  std::array<uint64_t, 2> next{};
  for (const Block& packet : packets) {
    const auto i = Read<uint32_t>(packet.body, 0);
    ASSERT_LT(i, 2u);
    ++written[i];
    lost[i] += Value<uint64_t>(packet, 4);
    // Ids are consecutive but for what was lost, and content is the record's own.
    ASSERT_EQ(Value<uint64_t>(packet, 5), next[i] + Value<uint64_t>(packet, 4));
    next[i] = Value<uint64_t>(packet, 5) + 1;
    const auto size = std::min<uint32_t>(128, Read<uint32_t>(packet.body, 16));
    ASSERT_EQ(Read<uint32_t>(packet.body, 12), size);
    for (uint32_t k = 0; k < size; ++k) {
      ASSERT_EQ(packet.body[20 + k], static_cast<uint8_t>(Read<uint32_t>(packet.body, 16)));
    }
  }
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(written[i], Value<uint64_t>(statistics[i], 8));
    EXPECT_EQ(Value<uint64_t>(statistics[i], 4), kRecords);
    EXPECT_EQ(written[i] + Value<uint64_t>(statistics[i], 5), kRecords);
    EXPECT_EQ(lost[i] + (kRecords - next[i]), Value<uint64_t>(statistics[i], 5));
    EXPECT_GT(written[i], 0u);
  }
}

TEST_F(Capture, AnEmptyCaptureIsAFileToo) {
  finish(*create());
  EXPECT_EQ(blocks().size(), 5u);
}

TEST_F(Capture, SaysWhatCannotBeWritten) {
  CaptureOptions options = options_;
  options.path = "/nonexistent/x.pcapng";
  const auto writer = CaptureWriter::Create(options);
  ASSERT_FALSE(writer);
  EXPECT_EQ(writer.error().text(),
            "capture file /nonexistent/x.pcapng: cannot create it: No such file or directory");

  options.path = "/dev/full";
  const auto full = CaptureWriter::Create(options);
  ASSERT_TRUE(full);
  std::stop_source stop;
  stop.request_stop();
  const Result<void> result = (*full)->run(stop.get_token());
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::kIo);
}

// --- Other people's readers --------------------------------------------------------------------

std::string Output(const std::string& command) {
  std::string text;
  std::FILE* pipe = popen((command + " 2>/dev/null").c_str(), "r");
  std::array<char, 4096> buffer{};
  while (pipe != nullptr && std::fgets(buffer.data(), buffer.size(), pipe)) text += buffer.data();
  EXPECT_EQ(pipe == nullptr ? -1 : pclose(pipe), 0) << command;
  return text;
}

TEST_F(Capture, WiresharkReadsIt) {
  if (std::system("command -v tshark capinfos >/dev/null") != 0) {
    const char* required = std::getenv("FARSPAN_REQUIRE_LAB");
    ASSERT_TRUE(required == nullptr || std::string(required) != "1") << "tshark is missing";
    GTEST_SKIP() << "tshark is missing: apt install tshark";
  }
  const auto writer = create();
  const Bytes frame = test::BuildFrame({.src_port = 50000, .dst_port = 9, .ecn = 3});
  CaptureRecord lost = Out(2'500'000, 8, frame.size());
  lost.flags = link::kDropped;
  lost.cause = link::Cause::kLoss;
  for (const CaptureRecord& record :
       {In(1'000, 7, frame.size()), Out(2'449'812, 7, frame.size()), lost}) {
    EXPECT_TRUE(writer->producer(0).offer(record, frame));
  }
  finish(*writer);

  EXPECT_EQ(Output("tshark -r " + options_.path +
                   " -T fields -E separator='|' -e frame.interface_name -e frame.time_epoch"
                   " -e frame.len -e frame.packet_flags_direction -e frame.packet_id"
                   " -e frame.comment -e udp.srcport -e ip.dsfield.ecn"),
            "veth-a|1700000000.000001000|74|0x00000001|7||50000|3\n"
            "veth-b|1700000000.002449812|74|0x00000002|7|delayed 2.448812 ms, due "
            "1700000000.002449000, late 812 ns|50000|3\n"
            "veth-b|1700000000.002500000|74|0x00000002|8|dropped: loss|50000|3\n");
  const std::string infos = Output("capinfos " + options_.path);
  for (const char* line :
       {"File type:           Wireshark/... - pcapng", "nanoseconds (9)", "Number of packets:   3",
        "Number of interfaces in file: 2", "Number of stat entries = 1", "Name = veth-a",
        "Number of packets = 2"}) {
    EXPECT_NE(infos.find(line), std::string::npos) << line << "\n" << infos;
  }
}

}  // namespace
}  // namespace farspan::dpdk
