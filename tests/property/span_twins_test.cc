// Five ways to be wrong, each caught: a recovery that retransmits before one round trip, a
// controller deaf to losses that parity repaired, ACKs tied to the ends of batches, parity taken
// for another row's, and a code of a Vandermonde matrix. For each the real thing passes the same
// test.
#include <gtest/gtest.h>
#include <isa-l/erasure_code.h>

#include <algorithm>
#include <array>
#include <memory>
#include <numeric>
#include <vector>

#include "emulator/base/random.h"
#include "tests/support/link_support.h"
#include "tests/support/span_scenario.h"
#include "transports/congestion/controllers.h"
#include "transports/core/erasure_code.h"
#include "transports/core/recoveries.h"
#include "transports/core/wrapped_span.h"

namespace farspan::test {
namespace {

using namespace farspan::literals;
using namespace transport;

// --- Retransmission before one round trip -----------------------------------------------------

// As implementations with a timeout of a data center's size do.
class Hasty final : public Recovery {
 public:
  GroupPlan plan_group(const QueueView&) override { return {}; }
  TimeNs loss_delay(const PathView&) const override { return {}; }
  TimeNs timeout(const PathView& path, TimeNs) const override { return {path.smoothed_rtt.ns / 4}; }
  LossAction on_lost(const LostPacket&) override { return {.copies = 1}; }
  bool may_hurry() const override { return true; }
};

ScenarioResult RunWithRecovery(const char* recovery) {
  RegisterRecovery("hasty",
                   [](const RecoveryConfig&) -> RecoveryPtr { return std::make_unique<Hasty>(); });
  SpanScenario scenario;
  scenario.pair.there = scenario.pair.back = Plain(1_gbps, 5_ms);
  scenario.pair.config.recovery = recovery;
  scenario.pair.config.controller.rate = 1_gbps;
  scenario.pair.config.window_packets = 1024;
  scenario.messages = {100'000, 50'000};
  scenario.rtt = 10_ms;
  scenario.round_trips_count = true;
  return RunScenario(scenario);
}

TEST(SpanTwins, ARecoveryThatHurriesIsSeen) {
  EXPECT_EQ(RunWithRecovery("sr").failure, "");
  EXPECT_EQ(RunWithRecovery("ec").failure, "");
  EXPECT_NE(RunWithRecovery("hasty").failure.find("within a round trip"), std::string::npos);
}

// --- Losses that parity repaired --------------------------------------------------------------

class Deaf final : public Controller {
 public:
  explicit Deaf(const ControllerConfig& config) : inner_(MakeCubic(config)) {}
  void on_sent(const SentInfo& sent) override { inner_->on_sent(sent); }
  void on_ack(const AckInfo& ack) override { inner_->on_ack(ack); }
  void on_loss(const LossInfo& loss) override {
    if (!loss.repaired) inner_->on_loss(loss);
  }
  void on_timeout(TimeNs now) override { inner_->on_timeout(now); }
  uint64_t window_bytes() const override { return inner_->window_bytes(); }
  Rate pacing_rate() const override { return inner_->pacing_rate(); }

 private:
  ControllerPtr inner_;
};

// Window and rate after a minute at 20 ms with a loss in every 20th round trip; the bottleneck is
// never full, so that delay says nothing.
std::pair<uint64_t, uint64_t> AfterLosses(ControllerFactory make, bool repaired) {
  constexpr uint32_t kBytes = 4194;
  const ControllerPtr controller = make({.packet_bytes = kBytes, .initial_rtt = 20_ms});
  uint64_t delivered = 0;
  TimeNs now{};
  for (int round = 0; round < 3'000; ++round) {
    now += 20_ms;
    const uint64_t packets = std::clamp<uint64_t>(controller->window_bytes() / kBytes, 1, 200);
    const uint64_t before = delivered;
    for (uint64_t i = 0; i < packets; ++i) {
      controller->on_sent({now, kBytes, (i + 1) * kBytes, false});
    }
    const bool lose = round % 20 == 19;
    if (lose) {
      controller->on_loss({now + 20_ms, kBytes, now, (packets - 1) * kBytes, delivered, repaired});
    }
    for (uint64_t i = lose ? 1 : 0; i < packets; ++i) {
      delivered += kBytes;
      const RateSample rate{packets * kBytes * 8 * 50, false, 20_ms, delivered - before, before};
      controller->on_ack({now + 20_ms, kBytes, 1, 0, (packets - 1 - i) * kBytes, delivered, 20_ms,
                          20_ms, 20_ms, rate});
    }
  }
  return {controller->window_bytes(), controller->pacing_rate().bits_per_s};
}

TEST(SpanTwins, AControllerDeafToRepairedLossIsSeen) {
  RegisterControllers();
  for (const std::string_view name : ControllerNames()) {
    if (name == "deaf") continue;
    const ControllerFactory make = *FindController(name);
    EXPECT_EQ(AfterLosses(make, true), AfterLosses(make, false)) << name;
  }
  const ControllerFactory deaf = [](const ControllerConfig& config) -> ControllerPtr {
    return std::make_unique<Deaf>(config);
  };
  EXPECT_NE(AfterLosses(deaf, true), AfterLosses(deaf, false));
}

// The endpoint must tell its controller of every loss, repaired or not.
class Counting final : public Controller {
 public:
  void on_sent(const SentInfo&) override {}
  void on_ack(const AckInfo&) override {}
  void on_loss(const LossInfo& loss) override { ++(loss.repaired ? repaired : lost); }
  void on_timeout(TimeNs) override {}
  uint64_t window_bytes() const override { return 1u << 30; }
  Rate pacing_rate() const override { return 1_gbps; }
  static inline uint64_t repaired = 0;
  static inline uint64_t lost = 0;
};

TEST(SpanTwins, EveryLossReachesTheController) {
  RegisterController("counting", [](const ControllerConfig&) -> ControllerPtr {
    return std::make_unique<Counting>();
  });
  PairOptions options;
  options.there = options.back = Plain(1_gbps, 5_ms);
  options.there.lanes[0].loss.kind = link::LossKind::kPeriodic;
  options.there.lanes[0].loss.period = 100;
  options.config.recovery = "ec";
  options.config.congestion = "counting";
  options.config.lengths_only = true;
  options.config.window_packets = 4096;
  SpanPair pair(options);
  ASSERT_TRUE(pair.connect(5_s));
  ASSERT_NE(pair.exchange(20'000'000, 10_ms, 10_s).sender, kNever);
  pair.network.run_until(pair.network.now() + 1_s);
  const uint64_t dropped = pair.network.counters(pair.there).dropped_total();
  EXPECT_GT(Counting::repaired, 40u);
  EXPECT_LE(Counting::repaired + Counting::lost, dropped);
  EXPECT_GE(Counting::repaired + Counting::lost + 2, dropped);  // but for a HELLO or a PING
}

// --- ACKs at the ends of batches --------------------------------------------------------------

// Of what it would acknowledge after one batch, only the last ACK leaves.
class BatchAcks final : public WrappedSpan {
 public:
  explicit BatchAcks(std::unique_ptr<Span> inner) : WrappedSpan(std::move(inner)) {}
  void on_datagrams(TimeNs now, std::span<const RxView> received) override {
    span_->on_datagrams(now, received);
    std::array<TxSlot, 64> slots;
    const size_t n = span_->poll_transmit(now, now, slots);
    const auto is_ack = [](const TxSlot& slot) { return (slot.header[0] & 15) == 7; };
    for (size_t i = 0; i < n; ++i) {
      const bool more = std::any_of(slots.begin() + static_cast<ptrdiff_t>(i) + 1,
                                    slots.begin() + static_cast<ptrdiff_t>(n), is_ack);
      if (!is_ack(slots[i]) || !more) waiting_.push_back(slots[i]);
    }
  }
  size_t poll_transmit(TimeNs now, TimeNs horizon, std::span<TxSlot> slots) override {
    const size_t n = std::min(slots.size(), waiting_.size());
    std::copy_n(waiting_.begin(), n, slots.begin());
    waiting_.erase(waiting_.begin(), waiting_.begin() + static_cast<ptrdiff_t>(n));
    return n != 0 ? n : span_->poll_transmit(now, horizon, slots);
  }
  TimeNs next_deadline() const override {
    return waiting_.empty() ? span_->next_deadline() : TimeNs{INT64_MIN};
  }

 private:
  std::vector<TxSlot> waiting_;
};

// The trace of one transfer over a lossy link, batches handed over whole or one by one.
uint64_t TraceOf(bool cut, bool twin) {
  SimOptions sim;
  sim.granularity = 200_us;
  sim.cut_batches = cut;
  SimNetwork network(sim);
  link::DirectionSpec spec = Plain(1_gbps, 5_ms);
  spec.lanes[0].loss.kind = link::LossKind::kBernoulli;
  spec.lanes[0].loss.probability = 0.01;
  const WireId there = *network.add_wire(spec, {.direction = 0}, {});
  const WireId back = *network.add_wire(spec, {.direction = 1}, {});
  SpanConfig config;
  config.lengths_only = true;
  config.window_packets = 4096;
  config.controller.rate = 1_gbps;
  SimTransport& a = network.add_host(*Span::Create(config));
  auto inner = *Span::Create(config);
  SimTransport& b = twin ? network.add_host(std::make_unique<BatchAcks>(std::move(inner)))
                         : network.add_host(std::move(inner));
  network.route(a, b, there);
  network.route(b, a, back);
  Handle handle;
  const ListenId listener = *b.listen(handle);
  const CommId comm = *a.connect(handle);
  std::optional<CommId> far;
  network.run_while([&] { return !(far = b.accept(listener)); }, 5_s);
  const auto receive = b.post_recv(*far, {nullptr, 10'000'000}, 0);
  network.run_while([&] { return a.state(comm) != CommState::kReady; }, 5_s);
  const auto send = a.post_send(comm, {nullptr, 10'000'000}, 0);
  EXPECT_TRUE(
      network.run_while([&] { return a.test(*send).progress == Progress::kPending; }, 10_s));
  EXPECT_EQ(b.test(*receive).progress, Progress::kDone);
  return network.trace_hash();
}

TEST(SpanTwins, AcksAtTheEndsOfBatchesAreSeen) {
  EXPECT_EQ(TraceOf(false, false), TraceOf(true, false));
  EXPECT_NE(TraceOf(false, true), TraceOf(true, true));
}

// --- Codes ------------------------------------------------------------------------------------

constexpr uint32_t kBytes = 16;  // of a symbol

// Loses `lost` of the data, decodes from random rows, which are said to be `shift` further down;
// how many of `cases` came back right.
template <typename Code>
int Decoded(Code& code, uint32_t k, uint32_t lost, uint32_t shift, int cases) {
  int good = 0;
  for (int c = 0; c < cases; ++c) {
    uint64_t draws = static_cast<uint64_t>(c) << 32;
    const auto draw = [&](uint64_t below) {
      return Draw({k * 1'000 + lost}, RandomPurpose::kTest, draws++).lo % below;
    };
    const uint32_t short_bytes = 1 + static_cast<uint32_t>(draw(kBytes));
    const ErasureCode::Layout layout{k, 2 * kBytes, kBytes, short_bytes};
    std::vector<uint8_t> data((k - 1) * layout.stride + short_bytes);
    for (uint8_t& byte : data) byte = static_cast<uint8_t>(draw(256));
    const auto some = [&](uint32_t below) {
      std::vector<uint8_t> all(below);
      std::iota(all.begin(), all.end(), uint8_t{0});
      for (uint32_t i = 0; i < lost; ++i) std::swap(all[i], all[i + draw(below - i)]);
      all.resize(lost);
      return all;
    };
    const std::vector<uint8_t> missing = some(k);
    std::vector<uint8_t> rows = some(ErasureCode::kMaxParity - 1);
    std::vector<uint8_t> parity(size_t{ErasureCode::kMaxParity} * kBytes);
    code.encode(layout, data.data(), ErasureCode::kMaxParity, parity.data(), kBytes);
    std::vector<uint8_t> damaged = data;
    for (const uint8_t m : missing) {
      std::fill_n(damaged.begin() + static_cast<int64_t>(m * layout.stride),
                  m + 1u == k ? short_bytes : kBytes, uint8_t{0xa5});
    }
    std::vector<const uint8_t*> symbols;
    for (uint8_t& row : rows) {
      symbols.push_back(&parity[size_t{row} * kBytes]);
      row = static_cast<uint8_t>(row + shift);
    }
    code.decode(layout, damaged.data(), missing, symbols, rows);
    good += damaged == data ? 1 : 0;
  }
  return good;
}

TEST(SpanTwins, ParityOfAnotherRowIsSeen) {
  ErasureCode code(kBytes);
  for (const uint32_t k : {1u, 2u, 7u, 32u, 100u, 128u}) {
    for (const uint32_t lost : {1u, 2u, 3u, 5u, 10u, 20u}) {
      if (lost > k) continue;
      EXPECT_EQ(Decoded(code, k, lost, 0, 100), 100) << k << " symbols, " << lost << " lost";
      EXPECT_LT(Decoded(code, k, lost, 1, 100), 10) << k << " symbols, " << lost << " lost";
    }
  }
}

// ErasureCode, slowly, by any of ISA-L's matrices.
class MatrixCode {
 public:
  explicit MatrixCode(void (*generate)(unsigned char*, int, int))
      : matrix_((kColumns + ErasureCode::kMaxParity) * kColumns) {
    generate(matrix_.data(), kColumns + ErasureCode::kMaxParity, kColumns);
  }

  void encode(const ErasureCode::Layout& layout, const uint8_t* data, uint32_t rows,
              uint8_t* parity, uint64_t stride) const {
    std::fill_n(parity, rows * stride, uint8_t{0});
    for (uint32_t r = 0; r < rows; ++r) add(layout, data, r, parity + r * stride);
  }

  // What is missing stays as it is where the matrix cannot be inverted.
  void decode(const ErasureCode::Layout& layout, uint8_t* data, std::span<const uint8_t> missing,
              std::span<const uint8_t* const> parity, std::span<const uint8_t> rows) const {
    const size_t lost = missing.size();
    std::vector<uint8_t> known, square, inverse(lost * lost);
    for (const uint8_t m : missing) std::fill_n(data + m * layout.stride, bytes(layout, m), 0);
    for (size_t i = 0; i < lost; ++i) {
      known.insert(known.end(), parity[i], parity[i] + kBytes);
      add(layout, data, rows[i], &known[i * kBytes]);
      for (const uint8_t m : missing) square.push_back(at(rows[i], m));
    }
    if (gf_invert_matrix(square.data(), inverse.data(), static_cast<int>(lost)) != 0) return;
    for (size_t i = 0; i < lost; ++i) {
      uint8_t* const symbol = data + missing[i] * layout.stride;
      for (uint32_t b = 0; b < bytes(layout, missing[i]); ++b) {
        for (size_t j = 0; j < lost; ++j) {
          symbol[b] ^= gf_mul(inverse[i * lost + j], known[j * kBytes + b]);
        }
      }
    }
  }

 private:
  static constexpr uint32_t kColumns = ErasureCode::kColumns;

  uint8_t at(uint32_t row, uint32_t column) const {
    return matrix_[(kColumns + row) * kColumns + column];
  }
  static uint32_t bytes(const ErasureCode::Layout& layout, uint32_t symbol) {
    return symbol + 1 == layout.count ? layout.last_bytes : layout.bytes;
  }
  void add(const ErasureCode::Layout& layout, const uint8_t* data, uint32_t row,
           uint8_t* sum) const {
    for (uint32_t i = 0; i < layout.count; ++i) {
      for (uint32_t b = 0; b < bytes(layout, i); ++b) {
        sum[b] ^= gf_mul(at(row, i), data[i * layout.stride + b]);
      }
    }
  }

  std::vector<uint8_t> matrix_;
};

TEST(SpanTwins, AVandermondeCodeIsSeen) {
  constexpr int kCases = 100;
  MatrixCode cauchy(gf_gen_cauchy1_matrix), vandermonde(gf_gen_rs_matrix);
  int failed = 0;
  for (const uint32_t lost : {1u, 2u, 3u, 5u, 10u, 20u}) {
    EXPECT_EQ(Decoded(cauchy, 128, lost, 0, kCases), kCases) << lost << " lost";
    failed += kCases - Decoded(vandermonde, 128, lost, 0, kCases);
  }
  EXPECT_GT(failed, 0);
  EXPECT_LT(failed, 6 * kCases / 10) << "that is not the matrix's fault";
}

}  // namespace
}  // namespace farspan::test
