// Datagrams that are not the peer's: cut short, of another version or connection, damaged, sent
// back, replayed, and, where there is a key, forged by someone who lacks it. Each is dropped,
// counted under its cause, and changes nothing: a transfer among thousands of them leaves the very
// trace that it leaves without.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "tests/support/span_wire.h"

namespace farspan::test {
namespace {

using namespace transport;
using Bytes = std::vector<uint8_t>;

constexpr uint64_t kMessageBytes = 30'000;

struct Outcome {
  uint64_t hash = 0;
  std::array<SpanCounters, 2> counters;
  uint64_t injected = 0;
};

// What an intruder makes of a datagram that was just delivered; none: nothing this time.
using Intruder = std::function<std::vector<Bytes>(const Bytes& seen)>;

struct Intrusion {
  const char* name;
  bool key;                  // the connection has one
  std::vector<Drop> causes;  // of what is dropped
  Intruder make;
  bool to_its_sender = false;
};

Outcome RunTransfer(bool key, const Intrusion* intrusion) {
  SpanWireOptions options;
  options.config.payload_bytes = 500;
  options.config.window_packets = 128;
  options.config.max_connections = 2;
  options.config.policy.block_data = 8;
  options.config.controller.rate = {50'000'000};
  if (key) options.config.mac = MacKey{{7}};
  options.loss = 0.05;
  options.jitter = {300'000};
  SpanWire wire(options);
  Outcome outcome;
  if (intrusion != nullptr) {
    wire.on_delivered = [&](uint32_t to, std::span<const uint8_t> bytes) {
      for (const Bytes& made : intrusion->make({bytes.begin(), bytes.end()})) {
        wire.inject(intrusion->to_its_sender ? 1 - to : to, made);
        ++outcome.injected;
      }
    };
  }
  EXPECT_TRUE(wire.connect(TimeNs{10'000'000'000}));
  std::vector<uint8_t> out(kMessageBytes, 3);
  std::vector<uint8_t> in(kMessageBytes);
  const auto receive = wire.side[1]->post_recv(wire.now(), wire.comm[1], {in.data(), in.size()}, 0);
  const auto send = wire.side[0]->post_send(wire.now(), wire.comm[0], {out.data(), out.size()}, 0);
  while (wire.side[0]->test(*send).progress == Progress::kPending && wire.step()) {
  }
  EXPECT_EQ(wire.side[1]->test(*receive).progress, Progress::kDone);
  EXPECT_EQ(in, out);
  outcome.hash = wire.trace_hash();
  outcome.counters = {wire.side[0]->counters(), wire.side[1]->counters()};
  return outcome;
}

PacketType TypeOf(const Bytes& bytes) { return static_cast<PacketType>(bytes[0] & 15); }

uint32_t HeaderOf(const Bytes& bytes) {
  Header header;
  uint32_t size = 0;
  EXPECT_EQ(ParseHeader(bytes, header, size), Drop::kNone);
  return size;
}

// With the checksum made right again; of datagrams without a MAC.
Bytes Sealed(Bytes bytes, size_t trailer = 0) {
  const uint32_t size = HeaderOf(bytes);
  const auto whole = std::span(bytes).first(bytes.size() - trailer);
  SealCrc(whole.first(size), whole.subspan(size));
  return bytes;
}

std::vector<Bytes> Cut(const Bytes& seen) {
  std::vector<Bytes> cut;
  for (size_t i = 0; i < 16; ++i)
    cut.emplace_back(seen.begin(), seen.begin() + static_cast<ptrdiff_t>(i * seen.size() / 16));
  cut.emplace_back(seen.begin(), seen.end() - 1);
  return cut;
}

std::vector<Bytes> FlipBits(const Bytes& seen) {
  std::vector<Bytes> flipped;
  for (size_t bit = 0; bit < 8 * seen.size(); bit += 1 + bit / 16) {
    flipped.push_back(seen);
    flipped.back()[bit / 8] ^= static_cast<uint8_t>(1u << bit % 8);
  }
  return flipped;
}

Intruder Change(std::function<void(Bytes&)> change, size_t trailer = 0) {
  return [=](const Bytes& seen) {
    Bytes bytes = seen;
    change(bytes);
    return std::vector<Bytes>{Sealed(std::move(bytes), trailer)};
  };
}

// A HELLO is asked and answered again, which costs the server no state.
std::vector<Bytes> Again(const Bytes& seen) {
  if (TypeOf(seen) == PacketType::kHello) return {};
  return {seen, seen};
}

std::vector<Bytes> NotHello(const Bytes& seen) {
  if (TypeOf(seen) == PacketType::kHello) return {};
  return {seen};
}

void SetNumber(Bytes& bytes, uint32_t add) {
  uint32_t number = 0;
  std::memcpy(&number, &bytes[12], 4);
  number += add;
  std::memcpy(&bytes[12], &number, 4);
}

std::vector<Intrusion> Intrusions() {
  const std::vector<Drop> damage{Drop::kTruncated, Drop::kVersion, Drop::kType, Drop::kMalformed,
                                 Drop::kCrc,       Drop::kUnknown, Drop::kMac};
  const auto forged = [](uint32_t add) {
    return Change([=](Bytes& bytes) { SetNumber(bytes, add); }, kMacBytes);
  };
  return {
      {"cut short", false, damage, Cut},
      {"cut short, with a key", true, damage, Cut},
      {"bits flipped", false, damage, FlipBits},
      {"bits flipped, with a key", true, damage, FlipBits},
      {"of another version",
       false,
       {Drop::kVersion},
       [](const Bytes& seen) {
         Bytes bytes = seen;
         bytes[0] = static_cast<uint8_t>(2 << 4 | (bytes[0] & 15));
         return std::vector<Bytes>{bytes};
       }},
      {"of a type that is none",
       false,
       {Drop::kType},
       [](const Bytes& seen) {
         Bytes bytes = seen;
         bytes[0] = kWireVersion << 4 | 12;
         return std::vector<Bytes>{bytes};
       }},
      // Who is not on the path does not see the id; a HELLO for a token that is not there is
      // refused.
      {"of another connection",
       false,
       {Drop::kUnknown},
       [](const Bytes& seen) {
         if (TypeOf(seen) == PacketType::kHello) return std::vector<Bytes>{};
         return Change([](Bytes& bytes) { bytes[4] ^= 1; })(seen);
       }},
      {"with something behind it",
       false,
       {Drop::kMalformed, Drop::kCrc},
       [](const Bytes& seen) {
         Bytes bytes = seen;
         bytes.push_back(0);
         return std::vector<Bytes>{bytes};
       }},
      {"sent back", false, {Drop::kUnknown}, NotHello, true},
      {"replayed", false, {Drop::kReplay, Drop::kState}, Again},
      {"replayed, with a key", true, {Drop::kReplay, Drop::kState}, Again},
      {"forged without the key", true, {Drop::kMac}, forged(1)},
      {"forged far ahead without the key", true, {Drop::kMac}, forged(1u << 31)},
      {"without a MAC",
       true,
       {Drop::kTruncated, Drop::kCrc, Drop::kMac},
       [](const Bytes& seen) {
         return std::vector<Bytes>{Bytes(seen.begin(), seen.end() - kMacBytes)};
       }},
  };
}

uint64_t Sum(const std::array<SpanCounters, 2>& counters, const std::vector<Drop>* causes) {
  uint64_t sum = 0;
  for (const SpanCounters& c : counters) {
    for (size_t d = 0; d < kDropCount; ++d) {
      const bool counts = causes == nullptr || std::find(causes->begin(), causes->end(),
                                                         static_cast<Drop>(d)) != causes->end();
      sum += counts ? c.dropped[d] : 0;
    }
  }
  return sum;
}

TEST(SpanIntruder, WhatIsNotThePeersIsCountedAndChangesNothing) {
  for (const Intrusion& intrusion : Intrusions()) {
    SCOPED_TRACE(intrusion.name);
    const Outcome alone = RunTransfer(intrusion.key, nullptr);
    Outcome with = RunTransfer(intrusion.key, &intrusion);
    EXPECT_EQ(with.hash, alone.hash);
    EXPECT_GT(with.injected, 100u);
    EXPECT_EQ(Sum(with.counters, nullptr), Sum(alone.counters, nullptr) + with.injected);
    EXPECT_EQ(Sum(with.counters, &intrusion.causes),
              Sum(alone.counters, &intrusion.causes) + with.injected);
    for (size_t i = 0; i < 2; ++i) {
      with.counters[i].dropped = alone.counters[i].dropped;
      EXPECT_EQ(std::memcmp(&with.counters[i], &alone.counters[i], sizeof(SpanCounters)), 0);
    }
  }
}

// Without a key, who sees what is on the path can take part in it.
TEST(SpanIntruder, AForgeryThatCannotBeToldChangesTheTrace) {
  const Intruder ask_again = Change([](Bytes& bytes) { SetNumber(bytes, 1); });
  const Intrusion forged{"forged", false, {}, [&](const Bytes& seen) {
                           return TypeOf(seen) == PacketType::kPing ? ask_again(seen)
                                                                    : std::vector<Bytes>{};
                         }};
  EXPECT_NE(RunTransfer(false, &forged).hash, RunTransfer(false, nullptr).hash);
}

// --- A peer that lies -------------------------------------------------------------------------

class Liar : public testing::Test {
 protected:
  Liar()
      : wire_([] {
          SpanWireOptions options;
          options.config.payload_bytes = 500;
          options.config.window_packets = 64;
          options.config.max_connections = 1;
          options.config.controller.rate = {50'000'000};
          return options;
        }()) {
    wire_.on_delivered = [this](uint32_t to, std::span<const uint8_t> bytes) {
      Header header;
      uint32_t size = 0;
      if (ParseHeader(bytes, header, size) == Drop::kNone) connection_[to] = header.connection;
    };
    EXPECT_TRUE(wire_.connect(TimeNs{10'000'000'000}));
    for (int i = 0; i < 100; ++i) wire_.step();
  }

  void tell(uint32_t to, Header header, size_t payload = 0) {
    header.connection = connection_[to];
    Bytes bytes(HeaderBytes(header) + payload);
    const auto text = std::span(bytes).first(EncodeHeader(header, bytes));
    SealCrc(text, std::span(bytes).subspan(text.size()));
    wire_.inject(to, bytes);
  }
  uint64_t malformed(uint32_t side) const {
    return wire_.side[side]->counters().dropped[static_cast<size_t>(Drop::kMalformed)];
  }

  SpanWire wire_;
  std::array<uint64_t, 2> connection_{};
};

// One block fills the other: of zeros, whose parity is zeros.
TEST_F(Liar, MayHaveBlocksOfParityOverlap) {
  Bytes in(1'500, 9);
  const auto receive =
      wire_.side[1]->post_recv(wire_.now(), wire_.comm[1], {in.data(), in.size()}, 0);
  Header parity{.type = PacketType::kParity, .number = 1, .message_bytes = 1'500};
  parity.stride = 1;
  parity.block_data = 2;
  tell(1, parity, 500);
  parity.block_data = 3;
  for (parity.row = 0; parity.row < 2; ++parity.row) {
    ++parity.number;
    tell(1, parity, 500);
  }
  tell(1, {.type = PacketType::kData, .number = 4, .message_bytes = 1'500}, 500);
  EXPECT_EQ(wire_.side[1]->test(*receive).progress, Progress::kDone);
  EXPECT_EQ(in, Bytes(1'500));
}

TEST_F(Liar, CannotAcknowledgeWhatTheMessageDoesNotHave) {
  Bytes out(1'500);
  wire_.side[0]->post_send(wire_.now(), wire_.comm[0], {out.data(), out.size()}, 0);
  Header ack{.type = PacketType::kAck, .number = 100, .low = 1, .credits = 1};
  ack.index = 2;
  tell(0, ack);
  EXPECT_EQ(malformed(0), 0u);
  for (const uint32_t index : {3u, kMaxDatagramIndex}) {
    ++ack.number;
    ack.index = index;
    tell(0, ack);
  }
  EXPECT_EQ(malformed(0), 2u);
  ack.message = 1;  // of one that is not posted yet nothing can be there
  ack.credits = 2;
  ack.index = 1;
  ++ack.number;
  tell(0, ack);
  EXPECT_EQ(malformed(0), 3u);
}

}  // namespace
}  // namespace farspan::test
