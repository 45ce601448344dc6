// Which losses belong together, and when a path says that they were none.
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>

#include "transports/core/path.h"

namespace farspan::transport {
namespace {

using namespace farspan::literals;

// What the controller was told: F the first loss of an episode, l another, S that they were none.
class Log final : public Controller {
 public:
  explicit Log(std::string& told) : told_(told) {}
  void on_sent(const SentInfo&) override {}
  void on_ack(const AckInfo&) override {}
  void on_loss(const LossInfo& loss) override { told_ += loss.first ? 'F' : 'l'; }
  void on_timeout(TimeNs) override {}
  void on_spurious(TimeNs) override { told_ += 'S'; }
  uint64_t window_bytes() const override { return 1u << 30; }
  Rate pacing_rate() const override { return {}; }

 private:
  std::string& told_;
};

class SpanPath : public testing::Test {
 protected:
  static constexpr uint32_t kBytes = 1'000;

  void SetUp() override {
    for (int64_t ms = 1; ms < 200; ++ms) path_.on_sent(at(ms), kBytes, false);
  }
  static TimeNs at(int64_t ms) { return {ms * 1'000'000}; }
  // Of packets that left at `sent`, in ms.
  void lose(int64_t now, int64_t sent) {
    path_.on_lost(at(now), ++number_, kBytes, at(sent), false);
  }
  void come_late(int64_t now, int64_t sent) { path_.on_spurious(at(now), at(sent)); }
  void come(int64_t now) { path_.on_acked(at(now), kBytes, 1, 0, kNever, {}, at(now - 20)); }
  std::string told() { return std::exchange(told_, {}); }

 private:
  std::string told_;
  Path path_{{}, std::make_unique<Log>(told_), TimeNs{20'000'000}};
  uint64_t number_ = 0;
};

TEST_F(SpanPath, SaysSoWhenTheLastOfThemHasCome) {
  lose(30, 5);
  lose(30, 6);
  come_late(50, 5);
  EXPECT_EQ(told(), "Fl");
  come_late(50, 6);
  EXPECT_EQ(told(), "S");
}

TEST_F(SpanPath, OneRealLossKeepsItSilent) {
  lose(30, 5);
  lose(30, 6);
  lose(31, 7);
  come_late(50, 5);
  come_late(50, 7);
  EXPECT_EQ(told(), "Fll");
}

// What leaves after the first was told begins another episode, and the former is over.
TEST_F(SpanPath, TheNextFlightIsAnotherEpisode) {
  lose(30, 5);
  come(40);
  lose(60, 29);
  come(61);
  lose(62, 31);
  EXPECT_EQ(told(), "FlF");
  come_late(70, 5);
  come_late(70, 29);
  EXPECT_EQ(told(), "");
  come_late(71, 31);
  EXPECT_EQ(told(), "S");
}

// Losses that time-outs tell of, and of what was sent after them, as long as nothing is heard.
TEST_F(SpanPath, ASilenceIsOneEpisode) {
  come(25);
  lose(50, 27);
  lose(110, 51);
  come_late(120, 51);
  EXPECT_EQ(told(), "Fl");
  come_late(120, 27);
  EXPECT_EQ(told(), "S");
}

// What had been told in error says nothing of the rest of that flight.
TEST_F(SpanPath, ARealLossAfterThatBeginsAnEpisode) {
  lose(30, 5);
  come_late(50, 5);
  lose(50, 7);
  EXPECT_EQ(told(), "FSF");
  come_late(60, 5);  // cannot be; and counts for nothing that was told
  come_late(60, 7);
  come_late(60, 8);
  EXPECT_EQ(told(), "S");
}

}  // namespace
}  // namespace farspan::transport
