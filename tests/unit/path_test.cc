#include "emulator/link/path.h"

#include <gtest/gtest.h>

namespace farspan::link {
namespace {

using namespace farspan::literals;

TimeNs Sum(const std::vector<DelayTerm>& terms) {
  TimeNs sum{};
  for (const DelayTerm& term : terms) sum += term.value;
  return sum;
}

TEST(Path, ChicagoToNewJersey) {
  // 1,328 km of SMF-28e, published round trip 12.98-13.1 ms. 1328e3 x 1.4682 / 299792458 s.
  const PathSpec path{.length = 1328_km};
  EXPECT_EQ(OneWayDelay(path), 6'503'731_ns);
  EXPECT_NEAR(ToSeconds(OneWayDelay(path)) * 2e3, 13.01, 0.005);
}

TEST(Path, GlassOfOneKilometre) {
  EXPECT_EQ(GlassDelay(1_km, 1.4682), 4'897_ns);  // 4897.388
  EXPECT_EQ(GlassDelay(1_km, 1.4620), 4'877_ns);  // 4876.707
  EXPECT_EQ(GlassDelay(1_km, 1.003), 3'346_ns);   // 3345.648
  EXPECT_EQ(GlassDelay({299'792'458}, 1.0), 1'000'000_ns);
  EXPECT_EQ(GlassDelay({}, 1.4682), 0_ns);
  EXPECT_EQ(GlassDelay({INT64_MAX}, 2.0), 61'531'714'962'988'000_ns);
}

TEST(Path, TermsAddUpToTheDelay) {
  const PathSpec path{.length = 1328_km,
                      .delay = 10_us,
                      .amplifier_spacing = 80_km,
                      .regenerators = 2,
                      .fec_delay = 30_us};
  const auto terms = DelayTerms(path);
  ASSERT_EQ(terms.size(), 5u);
  EXPECT_EQ(terms[0].name, "1328 km of glass, group index 1.4682");
  EXPECT_EQ(terms[1].name, "16 amplifiers of 125 ns");
  EXPECT_EQ(terms[1].value, 2_us);
  EXPECT_EQ(terms[2].value, 200_us);
  EXPECT_EQ(terms[3].name, "transponder FEC");
  EXPECT_EQ(terms[4].name, "fixed delay");
  EXPECT_EQ(Sum(terms), OneWayDelay(path));
  EXPECT_EQ(OneWayDelay(path), 6'503'731_ns + 242_us);
}

TEST(Path, DelayAlone) {
  const PathSpec path{.delay = 5_ms};
  ASSERT_EQ(DelayTerms(path).size(), 1u);
  EXPECT_EQ(OneWayDelay(path), 5_ms);
  EXPECT_EQ(DelayTerms(PathSpec{}).size(), 1u);
  EXPECT_EQ(OneWayDelay(PathSpec{}), 0_ns);
}

}  // namespace
}  // namespace farspan::link
