// Nothing is allocated or freed after a Span connection is set up: counted by this program's own
// operator new, for every recovery and controller, over a path that loses, repeats and reorders.
#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tests/support/count_allocations.h"
#include "tests/support/span_wire.h"
#include "transports/congestion/controllers.h"
#include "transports/core/recoveries.h"

namespace farspan::test {
namespace {

using namespace transport;

constexpr size_t kMessages = 40;
constexpr size_t kMessageBytes = 40'000;

SpanWireOptions Options(std::string recovery, std::string congestion) {
  SpanWireOptions options;
  options.config.recovery = std::move(recovery);
  options.config.congestion = std::move(congestion);
  options.config.payload_bytes = 500;
  options.config.window_packets = 512;
  options.config.max_requests = 4;
  options.config.max_connections = 2;
  options.config.parity_symbols = 256;
  options.config.policy.block_data = 16;
  options.config.controller.rate = {100'000'000};
  options.config.mac = MacKey{{1}};
  options.loss = 0.02;
  options.duplicate = 0.02;
  options.jitter = {200'000};
  return options;
}

struct Transfer {
  uint64_t allocations = 0;
  SpanCounters sender;
  SpanCounters receiver;
  bool right = false;  // all of it came
};

// Both programs keep as many requests posted as there is room for.
Transfer RunTransfer(const SpanWireOptions& options) {
  SpanWire wire(options);
  EXPECT_TRUE(wire.connect(TimeNs{60'000'000'000}));
  std::vector<uint8_t> out(kMessages * kMessageBytes);
  for (size_t i = 0; i < out.size(); ++i) out[i] = static_cast<uint8_t>(i * 31 + (i >> 8));
  std::vector<uint8_t> in(out.size());
  struct Half {
    uint8_t* data;
    std::vector<RequestId> posted;
    size_t done = 0;
  };
  Half halves[2] = {{out.data(), {}}, {in.data(), {}}};
  for (Half& half : halves) half.posted.reserve(kMessages);
  Transfer transfer;
  const uint64_t before = allocations;
  while (halves[0].done + halves[1].done < 2 * kMessages && wire.step()) {
    for (uint32_t i = 0; i < 2; ++i) {
      Span& span = *wire.side[i];
      Half& half = halves[i];
      while (half.done < half.posted.size() &&
             span.test(half.posted[half.done]).progress == Progress::kDone) {
        ++half.done;
      }
      while (half.posted.size() < kMessages) {
        const Buffer buffer{half.data + half.posted.size() * kMessageBytes, kMessageBytes};
        const auto tag = static_cast<uint32_t>(half.posted.size());
        const auto request = i == 0 ? span.post_send(wire.now(), wire.comm[0], buffer, tag)
                                    : span.post_recv(wire.now(), wire.comm[1], buffer, tag);
        if (!request) break;
        half.posted.push_back(*request);
      }
    }
    if (wire.now() > TimeNs{600'000'000'000}) break;
  }
  transfer.allocations = allocations - before;
  transfer.sender = wire.side[0]->counters();
  transfer.receiver = wire.side[1]->counters();
  transfer.right = in == out;
  return transfer;
}

TEST(SpanAllocation, NoneAfterAConnectionIsSetUp) {
  RegisterControllers();
  for (const char* recovery : {"gbn", "sr", "ec", "auto"}) {
    for (const char* congestion : {"fixed", "cubic", "bbr", "swift", "dcqcn"}) {
      SCOPED_TRACE(std::string(recovery) + " x " + congestion);
      const Transfer transfer = RunTransfer(Options(recovery, congestion));
      EXPECT_TRUE(transfer.right);
      EXPECT_EQ(transfer.allocations, 0u);
      EXPECT_GT(transfer.sender.data_resent, 0u);
      EXPECT_GT(transfer.sender.lost, 0u);
      EXPECT_GT(transfer.receiver.data_duplicate, 0u);
      if (std::string(recovery) == "ec") {
        EXPECT_GT(transfer.receiver.decoded, 0u);
      }
    }
  }
}

// Keeps a note of every loss.
class NoteTaking final : public Recovery {
 public:
  GroupPlan plan_group(const QueueView&) override { return {}; }
  TimeNs loss_delay(const PathView& path) const override { return path.reordering; }
  LossAction on_lost(const LostPacket& packet) override {
    notes_.push_back(std::make_unique<LostPacket>(packet));
    return {.copies = 1};
  }

 private:
  std::vector<std::unique_ptr<LostPacket>> notes_;
};

TEST(SpanAllocation, TheCounterCounts) {
  RegisterRecovery("note taking", [](const RecoveryConfig&) -> RecoveryPtr {
    return std::make_unique<NoteTaking>();
  });
  const Transfer transfer = RunTransfer(Options("note taking", "fixed"));
  EXPECT_TRUE(transfer.right);
  EXPECT_GE(transfer.allocations, transfer.sender.data_resent);
  EXPECT_GT(transfer.allocations, 0u);
}

}  // namespace
}  // namespace farspan::test
