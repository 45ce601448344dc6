// The rule table against a naive matcher, which knows how the frames were made and reads none of
// their bytes: random rules over random RoCE and other frames, lists exchanged on the way.
#include <gtest/gtest.h>

#include <optional>

#include "emulator/roce/rule_table.h"
#include "tests/support/roce_builder.h"

namespace farspan::test {
namespace {

using roce::PacketKind;
using roce::RuleMatch;

struct Packet {
  RoceSpec spec{};
  bool roce = true;  // else a UDP datagram to another port
  roce::QpNote note{};
};

class Dice {
 public:
  explicit Dice(uint64_t seed) : seed_(seed) {}
  uint64_t below(uint64_t n) { return Draw({seed_}, RandomPurpose::kTest, count_++).lo % n; }
  bool chance() { return below(2) == 0; }
  template <typename T>
  std::optional<T> maybe(T value) {
    return below(4) == 0 ? std::optional<T>(value) : std::nullopt;
  }

 private:
  uint64_t seed_;
  uint64_t count_ = 0;
};

// IBTA table 38, as far as the test sends it: opcode, kind, and which of a message's packets.
struct Known {
  uint8_t opcode;
  PacketKind kind;
  bool first, last;
  bool immediate;
};
constexpr Known kKnown[] = {
    {0x00, PacketKind::kSend, true, false, false},
    {0x01, PacketKind::kSend, false, false, false},
    {0x02, PacketKind::kSend, false, true, false},
    {0x05, PacketKind::kSend, true, true, true},
    {0x06, PacketKind::kWrite, true, false, false},
    {0x09, PacketKind::kWrite, false, true, true},
    {0x0c, PacketKind::kReadRequest, true, true, false},
    {0x0e, PacketKind::kReadResponse, false, false, false},
    {0x11, PacketKind::kAck, true, true, false},  // or NAK, by syndrome
    {0x81, PacketKind::kCnp, true, true, false},
};

const Known& KnownOf(const Packet& p) {
  return *std::find_if(std::begin(kKnown), std::end(kKnown),
                       [&](const Known& k) { return k.opcode == p.spec.opcode; });
}

Packet SomePacket(Dice& dice) {
  Packet p;
  const Known& known = kKnown[dice.below(std::size(kKnown))];
  p.spec.opcode = known.opcode;
  p.spec.dest_qp = 0x10 + static_cast<uint32_t>(dice.below(3));
  p.spec.psn = (0xfffffc + static_cast<uint32_t>(dice.below(8))) & 0xffffff;
  p.spec.ack_request = dice.chance();
  const bool data = known.opcode <= 0x09 || known.opcode == 0x0e;
  p.spec.payload_bytes = known.opcode == 0x81 ? 16 : data ? 256 : 0;
  p.spec.dma_length = 256;
  p.spec.syndrome = std::array<uint8_t, 3>{0x1f, 0x20, 0x60}[dice.below(3)];
  p.spec.frame.ip_version = dice.chance() ? 4 : 6;
  if (dice.chance()) p.spec.frame.tags = {{7, 3}};
  p.spec.frame.dscp = static_cast<uint8_t>(dice.below(3));
  p.spec.frame.ecn = static_cast<uint8_t>(dice.below(4));
  p.roce = dice.below(5) != 0;
  if (!p.roce) p.spec.frame.dst_port = 4790;
  if (p.roce && dice.chance()) {
    p.note.entry = 3;
    p.note.src_qp = static_cast<uint32_t>(dice.below(3));
    p.note.message = dice.below(3);
    p.note.index = static_cast<uint32_t>(dice.below(3));
    p.note.retransmission = dice.chance();
  }
  return p;
}

RuleMatch SomeRule(Dice& dice) {
  RuleMatch r;
  r.dscp = dice.maybe<uint8_t>(static_cast<uint8_t>(dice.below(3)));
  r.ecn = dice.maybe<uint8_t>(static_cast<uint8_t>(dice.below(16)));
  r.vlan = dice.maybe<uint16_t>(7);
  const auto qp = static_cast<uint32_t>(dice.below(3));
  r.roce.dest_qp = dice.maybe<roce::QpRange>({0x10 + qp, 0x11 + qp});
  const uint32_t psn = (0xfffffc + static_cast<uint32_t>(dice.below(8))) & 0xffffff;
  r.roce.psn = dice.maybe<roce::PsnRange>({psn, (psn + 3) & 0xffffff});
  if (dice.chance()) r.roce.opcodes.add(static_cast<PacketKind>(dice.below(12)));
  if (dice.chance()) r.roce.opcodes.add(kKnown[dice.below(std::size(kKnown))].opcode);
  r.roce.part = dice.maybe(static_cast<roce::MessagePart>(dice.below(4)));
  r.roce.immediate = dice.maybe(dice.chance());
  r.roce.ack_request = dice.maybe(dice.chance());
  r.roce.src_qp = dice.maybe<roce::QpRange>({1, 1});
  r.roce.message = dice.maybe<uint64_t>(1 + dice.below(2));
  r.roce.index = dice.maybe<uint32_t>(1 + static_cast<uint32_t>(dice.below(2)));
  r.roce.retransmission = dice.maybe(dice.chance());
  if (dice.chance()) r.start = 1 + dice.below(5);
  if (dice.chance()) r.every = 1 + dice.below(3);
  if (dice.chance()) r.count = dice.below(4);
  if (dice.below(4) == 0) r.from = TimeNs{static_cast<int64_t>(dice.below(100))};
  if (dice.below(4) == 0) r.until = r.from + TimeNs{1 + static_cast<int64_t>(dice.below(300))};
  return r;
}

bool NaiveKind(const roce::OpcodeSet& wanted, const Packet& p) {
  PacketKind kind = KnownOf(p).kind;
  if (kind == PacketKind::kAck && p.spec.syndrome == 0x60) kind = PacketKind::kNak;
  if (kind == PacketKind::kAck && p.spec.syndrome == 0x20) kind = PacketKind::kRnrNak;
  const bool by_kind = (wanted.kinds & 1u << static_cast<unsigned>(kind)) != 0;
  const bool by_code = (wanted.codes[p.spec.opcode / 64] >> p.spec.opcode % 64 & 1) != 0;
  return by_kind || by_code;
}

bool NaivePart(roce::MessagePart part, const Known& known) {
  if (part == roce::MessagePart::kFirst) return known.first;
  if (part == roce::MessagePart::kLast) return known.last;
  if (part == roce::MessagePart::kOnly) return known.first && known.last;
  return !known.first && !known.last;
}

bool NaiveRoce(const roce::RoceMatch& r, const Packet& p) {
  const bool observer = r.src_qp || r.message || r.index || r.retransmission;
  const bool any = observer || r.dest_qp || r.psn || !r.opcodes.empty() || r.part || r.immediate ||
                   r.ack_request;
  if (!any) return true;
  if (!p.roce) return false;
  if (r.dest_qp && (p.spec.dest_qp < r.dest_qp->first || p.spec.dest_qp > r.dest_qp->last)) {
    return false;
  }
  if (r.psn) {
    bool in = false;
    for (uint32_t psn = r.psn->first;; psn = (psn + 1) % (1 << 24)) {
      in |= psn == p.spec.psn;
      if (psn == r.psn->last) break;
    }
    if (!in) return false;
  }
  if (!r.opcodes.empty() && !NaiveKind(r.opcodes, p)) return false;
  if (r.part && !NaivePart(*r.part, KnownOf(p))) return false;
  if (r.immediate && *r.immediate != KnownOf(p).immediate) return false;
  if (r.ack_request && *r.ack_request != p.spec.ack_request) return false;
  if (r.src_qp && p.note.src_qp != 1) return false;
  if (r.message && *r.message != p.note.message) return false;
  if (r.index && (p.note.message == 0 || *r.index != p.note.index + 1)) return false;
  return !r.retransmission || (p.note.entry == 3 && *r.retransmission == p.note.retransmission);
}

bool NaiveHolds(const RuleMatch& r, const Packet& p, TimeNs since) {
  const FrameSpec& f = p.spec.frame;
  return since >= r.from && since < r.until && (!r.dscp || *r.dscp == f.dscp) &&
         (!r.ecn || (*r.ecn & 1 << f.ecn) != 0) && (!r.vlan || !f.tags.empty()) &&
         NaiveRoce(r.roce, p);
}

struct NaiveRule {
  RuleMatch match;
  uint8_t number;
  TimeNs origin;
  uint64_t matched = 0;
  uint64_t picked = 0;
};

TEST(RuleTableProperty, PicksAsTheNaiveMatcherDoes) {
  uint64_t all_picked = 0;
  for (uint64_t seed = 1; seed <= 400; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Dice dice(seed);
    roce::RuleTable table = std::move(roce::RuleTable::Create({}, {}).value());
    std::vector<NaiveRule> naive;
    for (int64_t now = 0; now < 300; ++now) {
      if (now % 60 == 0) {
        if (!naive.empty())
          naive.erase(naive.begin() + static_cast<ptrdiff_t>(dice.below(naive.size())));
        const size_t old = naive.size();
        for (uint8_t i = 0; i < 3; ++i) {
          const auto number = static_cast<uint8_t>(1 + 3 * (now / 60) + i);
          naive.push_back({.match = SomeRule(dice), .number = number, .origin = TimeNs{now}});
        }
        std::vector<roce::PlacedRule> list;
        for (size_t i = 0; i < naive.size(); ++i) {
          list.push_back({.match = naive[i].match, .number = naive[i].number, .fresh = i >= old});
        }
        table.exchange(list, TimeNs{now});
      }
      const Packet p = SomePacket(dice);
      uint8_t expected = 0;
      for (NaiveRule& rule : naive) {
        if (!NaiveHolds(rule.match, p, TimeNs{now} - rule.origin)) continue;
        const uint64_t n = ++rule.matched;
        const bool turn = n >= rule.match.start && (n - rule.match.start) % rule.match.every == 0;
        const bool left = rule.match.count == 0 || rule.picked < rule.match.count;
        if (expected != 0 || !turn || !left) continue;
        ++rule.picked;
        expected = rule.number;
      }
      const Bytes bytes = BuildRoce(p.spec);
      const roce::FrameView view = roce::ParseFrame(bytes, static_cast<uint32_t>(bytes.size()), 0);
      ASSERT_EQ(table.match(view, TimeNs{now}, bytes, p.note), expected) << "at " << now;
      all_picked += expected != 0 ? 1 : 0;
    }
    for (const NaiveRule& rule : naive) {
      ASSERT_EQ(table.counts(rule.number).matched, rule.matched);
      ASSERT_EQ(table.counts(rule.number).picked, rule.picked);
    }
  }
  EXPECT_GT(all_picked, 10'000u) << "the rules are not too strict to tell anything";
}

}  // namespace
}  // namespace farspan::test
