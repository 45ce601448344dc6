// A fiber is cut under a full window, for 20 ms each second; 10 Gb/s, 5 ms. All that was under way
// is lost, nothing later tells of it, and while it counts as under way a window forbids to send
// more.
#include <gtest/gtest.h>

#include <string>

#include "tests/support/shared_bottleneck.h"
#include "transports/congestion/controllers.h"

namespace farspan::test {
namespace {

using namespace farspan::literals;

// Of what the link carries, from the first cut to the second.
double Share(const std::string& congestion, TimeNs cut) {
  transport::RegisterControllers();
  SharedBottleneck network(
      {.rate = 10_gbps, .delay = 2'500_us, .queue_bytes = 6'250'000, .cut = cut});
  network.add(congestion, 5_ms, congestion == "fixed" ? 9'900_mbps : Rate{});
  network.run_until(1_s);
  const uint64_t before = network.delivered(0);
  network.run_until(2_s);
  return static_cast<double>(network.delivered(0) - before) * 8 / 10e9 * 4194 / 4096;
}

TEST(SpanCut, OneQuestionThatGetsThroughTellsAllThatWasLost) {
  struct Row {
    std::string congestion;
    double least;
  };
  for (const Row& row : {Row{"fixed", 0.95}, {"bbr", 0.85}, {"swift", 0.8}, {"cubic", 0.6}}) {
    const double share = Share(row.congestion, 20_ms);
    EXPECT_GE(share, row.least) << row.congestion;
    EXPECT_LE(share, 0.98) << row.congestion;
    EXPECT_GT(Share(row.congestion, {}), 0.985) << row.congestion;
  }
}

}  // namespace
}  // namespace farspan::test
