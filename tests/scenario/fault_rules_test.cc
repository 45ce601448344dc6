// Fault rules for RDMA, from the words that people write to what arrives: each sentence beside a
// twin that must differ. Frames are matched as they enter, as the engine does it, and go through a
// link in virtual time.
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "emulator/config/rules.h"
#include "emulator/link/link.h"
#include "emulator/roce/qp_observer.h"
#include "emulator/roce/rewrite.h"
#include "emulator/roce/rule_table.h"
#include "tests/support/roce_builder.h"

namespace farspan::test {
namespace {

using namespace farspan::literals;
using Settings = std::map<std::string, std::string>;

constexpr TimeNs kDelay = 1_ms;
constexpr uint8_t kFirst = 0x06, kMiddle = 0x07, kLast = 0x08, kOnly = 0x0a;  // RC WRITE
constexpr uint8_t kAck = 0x11, kCnp = 0x81;

struct Sent {
  TimeNs at{};
  RoceSpec packet{};
};

struct Got {
  RoceSpec packet{};
  TimeNs sent{};
  TimeNs due{};
  bool dropped = false;
  Bytes bytes;

  bool icrc_holds() const {
    const roce::FrameView view = roce::ParseFrame(bytes, static_cast<uint32_t>(bytes.size()), 0);
    const roce::RoceView roce = roce::ParseRoce(bytes, view);
    return roce.fault == roce::RoceFault::kNone &&
           roce::ComputeIcrc(bytes, view, roce) == roce::ReadIcrc(bytes, roce);
  }
};

// One direction of a link with rules; `added_at` is when they take effect.
class Bench {
 public:
  explicit Bench(const std::vector<Settings>& rules, TimeNs added_at = {}, uint64_t seed = 1)
      : key_(MakeStreamKey(seed, "link", 0)), added_at_(added_at) {
    link::DirectionSpec spec;
    spec.lanes[0].path.delay = kDelay;
    config::RuleNames names;
    for (const Settings& settings : rules) {
      const auto rule = config::RuleFrom(settings, names);
      EXPECT_TRUE(rule) << rule.error().text();
      const auto number = static_cast<uint8_t>(placed_.size() + 1);
      names.rules.push_back({rule->name, number});
      placed_.push_back({.match = rule->conditions, .number = number});
      spec.faults.push_back(rule->fault);
    }
    link_ = std::move(link::Link::Create(spec, {.seed = seed}, {}, {}).value());
    table_ = std::move(roce::RuleTable::Create({}, {}, key_).value());
  }

  std::vector<Got> run(const std::vector<Sent>& traffic) {
    std::vector<Bytes> frames;
    for (const Sent& sent : traffic) {
      frames.push_back(BuildRoce(sent.packet));
      offer(sent.at, frames.back(), frames.size() - 1);
    }
    std::vector<Got> got;
    std::vector<link::PacketRef> out(64);
    for (size_t n; (n = link_->release(traffic.back().at + 1_s, out)) > 0;) {
      for (size_t i = 0; i < n; ++i) got.push_back(open(out[i], traffic, frames));
    }
    return got;
  }
  uint64_t hits(uint8_t number) const { return link_->fault_counts(number).hits; }
  const roce::RuleTable& table() const { return table_; }

 private:
  void offer(TimeNs at, const Bytes& bytes, uint64_t handle) {
    if (at >= added_at_ && !placed_.empty()) {
      table_.exchange(placed_, added_at_);
      placed_.clear();
    }
    const auto size = static_cast<uint32_t>(bytes.size());
    const roce::FrameView view = roce::ParseFrame(bytes, size, 0);
    roce::Passage passage;
    const roce::QpNote note =
        observer_.ingress(0, at, bytes, view, roce::ParseRoce(bytes, view), passage);
    const link::PacketRef ref{.handle = handle,
                              .due = at,
                              .wire_bytes = link::WireBytes(size),
                              .sequence = static_cast<uint32_t>(handle),
                              .flags = view.ecn != 0 ? uint8_t{link::kEcnCapable} : uint8_t{0},
                              .rule = table_.match(view, at, bytes, note)};
    EXPECT_EQ(link_->offer(at, {&ref, 1}), 1u);
  }

  Got open(const link::PacketRef& ref, const std::vector<Sent>& traffic,
           const std::vector<Bytes>& frames) const {
    Got got{.packet = traffic[ref.handle].packet,
            .sent = traffic[ref.handle].at,
            .due = ref.due,
            .dropped = (ref.flags & link::kDropped) != 0,
            .bytes = frames[ref.handle]};
    if ((ref.flags & link::kMarked) != 0) roce::SetCe(got.bytes);
    if ((ref.flags & link::kCorrupted) != 0) {
      roce::CorruptPayload(got.bytes, Draw(key_, RandomPurpose::kCorrupt, ref.sequence).hi);
    }
    return got;
  }

  StreamKey key_;
  TimeNs added_at_;
  std::vector<roce::PlacedRule> placed_;
  std::unique_ptr<link::Link> link_;
  roce::RuleTable table_;
  roce::QpObserver observer_{{.queue_pairs = 64}, 2_ms};
};

// `count` WRITE messages of `packets` each, one packet per microsecond.
std::vector<Sent> Messages(uint32_t qp, int count, int packets, const FrameSpec& frame = {}) {
  std::vector<Sent> traffic;
  for (int message = 0; message < count; ++message) {
    for (int i = 0; i < packets; ++i) {
      const auto psn = static_cast<uint32_t>(traffic.size());
      RoceSpec packet{.frame = frame, .dest_qp = qp, .psn = psn, .payload_bytes = 256};
      packet.opcode = packets == 1 ? kOnly : i == 0 ? kFirst : i == packets - 1 ? kLast : kMiddle;
      packet.dma_length = 256 * static_cast<uint32_t>(packets);
      traffic.push_back({TimeNs{1'000 * psn}, packet});
    }
  }
  return traffic;
}

std::vector<Sent> Together(std::vector<Sent> all, const std::vector<Sent>& more,
                           TimeNs later = {}) {
  for (Sent sent : more) {
    sent.at += later;
    all.push_back(sent);
  }
  std::stable_sort(all.begin(), all.end(), [](auto& a, auto& b) { return a.at < b.at; });
  return all;
}

// {queue pair, PSN} of what was dropped.
std::vector<std::pair<uint32_t, uint32_t>> Dropped(const std::vector<Got>& got) {
  std::vector<std::pair<uint32_t, uint32_t>> dropped;
  for (const Got& g : got) {
    if (g.dropped) dropped.emplace_back(g.packet.dest_qp, g.packet.psn);
  }
  return dropped;
}

using Psns = std::vector<std::pair<uint32_t, uint32_t>>;

const FrameSpec kFrames[] = {
    {}, {.ip_version = 6}, {.tags = {{7, 3}}}, {.tags = {{7, 3}, {8, 0}}, .ip_version = 6}};

TEST(FaultRules, DropTheLastPacketOfTheThirdMessageOfAQueuePair) {
  for (const FrameSpec& frame : kFrames) {
    const auto once = Together(Messages(0x11, 4, 4, frame), Messages(0x12, 4, 4, frame));
    const auto traffic = Together(once, Messages(0x11, 4, 4, frame), 100_us);  // and all again
    const Settings rule{{"match", "qp=0x11 message=3 last"}, {"action", "drop"}, {"count", "1"}};
    Bench bench({rule});
    EXPECT_EQ(Dropped(bench.run(traffic)), (Psns{{0x11, 11}}));
    EXPECT_EQ(bench.hits(1), 1u);
    EXPECT_EQ(bench.table().counts(1).matched, 2u) << "the retransmission is known as the same";
    const auto dropped_by = [&](const char* match) {
      const Settings other{{"match", match}, {"action", "drop"}, {"count", "1"}};
      return Dropped(Bench({other}).run(traffic));
    };
    EXPECT_EQ(dropped_by("qp=0x12 message=3 last"), (Psns{{0x12, 11}}));
    EXPECT_EQ(dropped_by("qp=0x11 message=2 last"), (Psns{{0x11, 7}}));
    EXPECT_EQ(dropped_by("qp=0x11 message=3 first"), (Psns{{0x11, 8}}));
    EXPECT_EQ(dropped_by("qp=0x11 message=3 index=2"), (Psns{{0x11, 9}}));
    EXPECT_EQ(dropped_by("qp=0x11 message=5 last"), Psns{});
    EXPECT_EQ(dropped_by("qp=0x13 message=3 last"), Psns{});
  }
}

TEST(FaultRules, TheOnlyPacketIsFirstAndLast) {
  for (const char* part : {"first", "last", "only"}) {
    const Settings rule{{"match", std::string("message=3 ") + part}, {"action", "drop"}};
    EXPECT_EQ(Dropped(Bench({rule}).run(Messages(0x11, 4, 1))), (Psns{{0x11, 2}})) << part;
  }
  const Settings middle{{"match", "middle"}, {"action", "drop"}};
  EXPECT_EQ(Dropped(Bench({middle}).run(Messages(0x11, 4, 1))), Psns{});
  EXPECT_EQ(Dropped(Bench({middle}).run(Messages(0x11, 1, 3))), (Psns{{0x11, 1}}));
}

TEST(FaultRules, DropEveryAckForFiveMilliseconds) {
  std::vector<Sent> traffic;
  for (int i = 0; i < 200; ++i) {
    const auto psn = static_cast<uint32_t>(i);
    const uint8_t syndrome = i % 5 == 4 ? 0x60 : i % 5 == 3 ? 0x20 : 0x1f;  // NAK, RNR NAK, ACK
    traffic.push_back(
        {TimeNs{i * 100'000}, {.opcode = kAck, .dest_qp = 9, .psn = psn, .syndrome = syndrome}});
  }
  const auto dropped_by = [&](const char* match, const char* time) {
    const Settings rule{{"match", match}, {"action", "drop"}, {"for", time}};
    std::set<uint32_t> psns;
    for (const auto& [qp, psn] : Dropped(Bench({rule}, 3_ms).run(traffic))) psns.insert(psn);
    return psns;
  };
  const auto expected = [](uint32_t from, uint32_t to, std::set<uint32_t> rests) {
    std::set<uint32_t> psns;
    for (uint32_t psn = from; psn < to; ++psn) {
      if (rests.contains(psn % 5)) psns.insert(psn);
    }
    return psns;
  };
  EXPECT_EQ(dropped_by("ack", "5 ms"), expected(30, 80, {0, 1, 2}));
  EXPECT_EQ(dropped_by("ack", "6 ms"), expected(30, 90, {0, 1, 2}));
  EXPECT_EQ(dropped_by("nak", "5 ms"), expected(30, 80, {4}));
  EXPECT_EQ(dropped_by("rnr_nak", "5 ms"), expected(30, 80, {3}));
  EXPECT_EQ(dropped_by("opcode=0x11", "5 ms"), expected(30, 80, {0, 1, 2, 3, 4}));
  EXPECT_EQ(dropped_by("ack nak", "5 ms"), expected(30, 80, {0, 1, 2, 4}));
}

TEST(FaultRules, CorruptAPsnOnceAndLeaveTheIcrcStale) {
  const Settings rule{{"match", "psn=10"}, {"action", "corrupt"}, {"count", "1"}};
  for (const FrameSpec& frame : kFrames) {
    for (uint64_t seed = 1; seed <= 25; ++seed) {
      const auto traffic = Together(Messages(0x11, 5, 4, frame), Messages(0x11, 5, 4, frame), 1_ms);
      Bench bench({rule}, {}, seed);
      int broken = 0;
      for (const Got& got : bench.run(traffic)) {
        const bool chosen = got.packet.psn == 10 && got.sent < 1_ms;
        EXPECT_EQ(got.icrc_holds(), !chosen) << got.packet.psn << ", seed " << seed;
        broken += got.icrc_holds() ? 0 : 1;
        const Bytes whole = BuildRoce(got.packet);
        const size_t payload = whole.size() - got.packet.payload_bytes - 4;
        EXPECT_TRUE(std::equal(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(payload),
                               got.bytes.begin()))
            << "headers are whole: the queue pair gets it, and discards it";
      }
      EXPECT_EQ(broken, 1);
    }
  }
  for (const Got& got : Bench({}).run(Messages(0x11, 5, 4))) EXPECT_TRUE(got.icrc_holds());
}

TEST(FaultRules, MarkOnePercent) {
  constexpr int kPackets = 20'000;
  const auto marked = [](uint8_t ecn, const char* match) {
    const Settings rule{{"match", match}, {"action", "mark"}, {"probability", "1 %"}};
    const FrameSpec frame{.ecn = ecn};
    Bench bench({rule});
    int count = 0;
    for (const Got& got : bench.run(Messages(0x11, kPackets, 1, frame))) {
      const uint8_t tos = got.bytes[15];
      if ((tos & 3) != ecn) {
        EXPECT_EQ(tos & 3, 3);
        EXPECT_EQ(InternetChecksum(got.bytes.data() + 14, 20), 0) << "the IP checksum is mended";
        EXPECT_TRUE(got.icrc_holds()) << "the ICRC masks these bits";
        ++count;
      }
    }
    EXPECT_EQ(bench.hits(1), static_cast<uint64_t>(count));
    return count;
  };
  EXPECT_NEAR(marked(2, "ect0"), 200, 75);  // five standard deviations: 70
  EXPECT_NEAR(marked(1, "ect"), 200, 75);
  EXPECT_EQ(marked(2, "ect1"), 0);
  EXPECT_EQ(marked(0, "write"), 0) << "what is not ECN-capable cannot be marked";
}

TEST(FaultRules, DelayCnps) {
  auto traffic = Messages(0x11, 10, 4);
  for (size_t i = 0; i < traffic.size(); i += 3) {
    traffic[i].packet = {.opcode = kCnp, .dest_qp = 0x11, .payload_bytes = 16};
  }
  const Settings rule{{"match", "cnp"}, {"action", "delay"}, {"delay", "2 ms"}};
  Bench bench({rule});
  for (const Got& got : bench.run(traffic)) {
    const bool cnp = got.packet.opcode == kCnp;
    EXPECT_EQ(got.due - got.sent, kDelay + (cnp ? 2_ms : 0_ms));
  }
  EXPECT_EQ(bench.hits(1), 14u);
}

TEST(FaultRules, DropRetransmissionsOfARangeOfPsns) {
  for (const FrameSpec& frame : kFrames) {
    const auto traffic = Together(Messages(0x11, 10, 4, frame), Messages(0x11, 10, 4, frame), 1_ms);
    const auto dropped_by = [&](const char* match) {
      const Settings rule{{"match", match}, {"action", "drop"}};
      return Bench({rule}).run(traffic);
    };
    const auto again = dropped_by("psn=10-12 retransmission");
    EXPECT_EQ(Dropped(again), (Psns{{0x11, 10}, {0x11, 11}, {0x11, 12}}));
    for (const Got& got : again) EXPECT_TRUE(!got.dropped || got.sent >= 1_ms);
    const auto first = dropped_by("psn=10-12 first_transmission");
    EXPECT_EQ(Dropped(first), (Psns{{0x11, 10}, {0x11, 11}, {0x11, 12}}));
    for (const Got& got : first) EXPECT_TRUE(!got.dropped || got.sent < 1_ms);
    EXPECT_EQ(Dropped(dropped_by("psn=10-12")).size(), 6u);
  }
}

TEST(FaultRules, PsnsGoRound) {
  auto traffic = Messages(0x11, 4, 1);
  for (Sent& sent : traffic) sent.packet.psn = (sent.packet.psn + 0xfffffe) & 0xffffff;
  const Settings rule{{"match", "psn=0xffffff-0"}, {"action", "drop"}};
  EXPECT_EQ(Dropped(Bench({rule}).run(traffic)), (Psns{{0x11, 0xffffff}, {0x11, 0}}));
}

TEST(FaultRules, TheFifthPacketOfAQueuePair) {
  const auto traffic = Together(Messages(0x11, 4, 4), Messages(0x12, 4, 4));
  const Settings rule{{"match", "qp=0x12"}, {"nth", "5"}, {"action", "drop"}};
  EXPECT_EQ(Dropped(Bench({rule}).run(traffic)), (Psns{{0x12, 4}}));
}

TEST(FaultRules, AfterANakDropAcks) {
  std::vector<Sent> traffic;
  for (uint32_t i = 0; i < 40; ++i) {
    const uint8_t syndrome = i == 10 ? 0x60 : 0x1f;
    traffic.push_back(
        {TimeNs{i * 1'000}, {.opcode = kAck, .dest_qp = 9, .psn = i, .syndrome = syndrome}});
  }
  const Settings naks{{"name", "naks"}, {"match", "nak"}, {"action", "pass"}};
  const Settings acks{{"match", "ack"}, {"after", "naks"}, {"for", "4500 ns"}, {"action", "drop"}};
  Bench bench({naks, acks});
  EXPECT_EQ(Dropped(bench.run(traffic)), (Psns{{9, 11}, {9, 12}, {9, 13}, {9, 14}}));
  EXPECT_EQ(bench.hits(1), 1u);
}

}  // namespace
}  // namespace farspan::test
