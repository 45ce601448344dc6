// Two connections to one peer are one sender to its path: one window between them, and what one of
// them loses slows both. To two peers they are two.
#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "tests/support/link_support.h"
#include "tests/support/span_pair.h"

namespace farspan::test {
namespace {

using namespace farspan::literals;
using namespace transport;

constexpr uint64_t kWindow = 100;  // packets
constexpr TimeNs kRtt = 10_ms;

// A window that each loss episode halves, and nothing else changes.
class Halving final : public Controller {
 public:
  explicit Halving(const ControllerConfig& config) : window_(kWindow * config.packet_bytes) {}
  void on_sent(const SentInfo&) override {}
  void on_ack(const AckInfo&) override {}
  void on_loss(const LossInfo& loss) override { window_ /= loss.first ? 2 : 1; }
  void on_timeout(TimeNs) override {}
  uint64_t window_bytes() const override { return window_; }
  Rate pacing_rate() const override { return {}; }

 private:
  uint64_t window_;
};

PairOptions Options() {
  RegisterController("halving", [](const ControllerConfig& config) -> ControllerPtr {
    return std::make_unique<Halving>(config);
  });
  PairOptions options;
  options.there = options.back = Plain(100_gbps, TimeNs{kRtt.ns / 2});
  // In the midst of what leaves at 2 s: 100 packets in 34 us.
  options.there.timeline.push_back(
      {.at = 2_s + 10_us, .change = link::Cut{.duration = TimeNs{10'000}}});
  options.config.recovery = "sr";
  options.config.congestion = "halving";
  options.config.lengths_only = true;
  options.config.window_packets = 1u << 12;
  options.config.max_connections = 2;
  return options;
}

class TwoConnections {
 public:
  explicit TwoConnections(bool one_peer) : pair_(Options()) {
    SimTransport* other = pair_.b;
    if (!one_peer) {
      SpanConfig config = Options().config;
      config.seed = 9;
      other = &pair_.network.add_host(Must(Span::Create(config)));
      pair_.network.route(*pair_.a, *other, pair_.there);
      pair_.network.route(*other, *pair_.a, pair_.back);
    }
    connect(0, *pair_.b);
    connect(1, *other);
    pair_.network.on_departure = [this](TimeNs, std::span<const uint8_t> header) {
      uint64_t connection = 0;
      std::memcpy(&connection, &header[4], sizeof connection);
      if (static_cast<PacketType>(header[0] & 15) == PacketType::kData) ++sent_[connection];
    };
  }

  size_t paths() const { return pair_.span_a->path_count(); }

  // Both connections that are asked to send do so; how many packets each has in flight before the
  // first ACK can be here.
  std::vector<uint64_t> flight(TimeNs at, std::initializer_list<size_t> senders) {
    pair_.network.run_until(at);
    sent_.clear();
    for (const size_t i : senders) {
      EXPECT_TRUE(pair_.a->post_send(comm_[i], {nullptr, kMessageBytes}, 0));
    }
    pair_.network.run_until(at + TimeNs{kRtt.ns - 1});
    std::vector<uint64_t> packets;
    for (const auto& [connection, count] : sent_) packets.push_back(count);
    return packets;
  }

 private:
  static constexpr uint64_t kMessageBytes = 4'000'000;

  void connect(size_t i, SimTransport& peer) {
    Handle handle;
    const ListenId listener = Must(peer.listen(handle));
    comm_[i] = Must(pair_.a->connect(handle));
    std::optional<CommId> far;
    EXPECT_TRUE(pair_.network.run_while([&] { return !(far = peer.accept(listener)); }, 1_s));
    for (int receives = 0; receives < 2; ++receives) {
      EXPECT_TRUE(peer.post_recv(*far, {nullptr, kMessageBytes}, 0));
    }
  }

  SpanPair pair_;
  std::array<CommId, 2> comm_;
  std::map<uint64_t, uint64_t> sent_;  // packets of each connection
};

using Packets = std::vector<uint64_t>;

TEST(SpanSharedPath, HasOneWindow) {
  TwoConnections one_peer(true), two_peers(false);
  EXPECT_EQ(one_peer.flight(1_s, {0, 1}), Packets({kWindow / 2, kWindow / 2}));
  EXPECT_EQ(two_peers.flight(1_s, {0, 1}), Packets({kWindow, kWindow}));
  EXPECT_EQ(one_peer.paths(), 1u);
  EXPECT_EQ(two_peers.paths(), 2u);
}

TEST(SpanSharedPath, HasOneMemoryOfLoss) {
  for (const bool one_peer : {true, false}) {
    TwoConnections connections(one_peer);
    EXPECT_EQ(connections.flight(2_s, {0}), Packets({kWindow}));
    EXPECT_EQ(connections.flight(3_s, {0}), Packets({kWindow / 2}));
    EXPECT_EQ(connections.flight(4_s, {1}), Packets({one_peer ? kWindow / 2 : kWindow}));
  }
}

}  // namespace
}  // namespace farspan::test
