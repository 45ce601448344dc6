#include "emulator/base/units.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <cmath>
#include <string>
#include <string_view>

namespace farspan {
namespace {

TEST(Units, ReadsTimes) {
  const struct {
    const char* text;
    int64_t ns;
  } kRows[] = {
      {"25 ms", 25'000'000},
      {"2.5ms", 2'500'000},
      {" 1 s ", 1'000'000'000},
      {"20us", 20'000},
      {"20 \xc2\xb5s", 20'000},
      {"20 \xce\xbcs", 20'000},
      {"100usec", 100'000},
      {"3 msecs", 3'000'000},
      {"2 secs", 2'000'000'000},
      {"1e-3 s", 1'000'000},
      {".5 ns", 1},
      {"1.4 ns", 1},
      {"2 min", 120'000'000'000},
      {"0 s", 0},
      {"+7 ns", 7},
      {"9223372036854775807 ns", INT64_MAX},
  };
  for (const auto& row : kRows) {
    const auto time = ParseTime(row.text);
    ASSERT_TRUE(time) << row.text << ": " << time.error().text();
    EXPECT_EQ(time->ns, row.ns) << row.text;
  }
}

TEST(Units, ReadsRates) {
  const struct {
    const char* text;
    uint64_t bits_per_s;
  } kRows[] = {
      {"400 Gbps", 400'000'000'000},
      {"400gbit", 400'000'000'000},
      {"25 Mbit/s", 25'000'000},
      {"25 Mb/s", 25'000'000},
      {"1.6 Tbps", 1'600'000'000'000},
      {"9600 bps", 9600},
      {"1 kbit", 1'000},
      {"1 Kbps", 1'000},
      {"1 kibit", 1'024},
      {"1 Mibit", 1 << 20},
      {"0.5 Gbits/s", 500'000'000},
      {"0 bps", 0},
  };
  for (const auto& row : kRows) {
    const auto rate = ParseRate(row.text);
    ASSERT_TRUE(rate) << row.text << ": " << rate.error().text();
    EXPECT_EQ(rate->bits_per_s, row.bits_per_s) << row.text;
  }
}

TEST(Units, ReadsLengthsAndSizes) {
  EXPECT_EQ(ParseLength("1328 km")->mm, 1'328'000'000);
  EXPECT_EQ(ParseLength("0.5 m")->mm, 500);
  EXPECT_EQ(ParseLength("3cm")->mm, 30);
  EXPECT_EQ(ParseLength("825 mi")->mm, 1'327'708'800);
  EXPECT_EQ(*ParseBytes("64 MiB"), uint64_t{64} << 20);
  EXPECT_EQ(*ParseBytes("9 kB"), 9'000u);
  EXPECT_EQ(*ParseBytes("1538B"), 1'538u);
  EXPECT_EQ(*ParseBytes("18446744073709551615 B"), UINT64_MAX);
}

TEST(Units, ReadsPacketRates) {
  EXPECT_EQ(*ParsePacketRate("14.88 Mpps"), 14'880'000u);
  EXPECT_EQ(PacketRateToText(14'880'000), "14.88 Mpps");
  EXPECT_FALSE(ParsePacketRate("12"));
  EXPECT_FALSE(ParsePacketRate("12 Mbps"));
}

TEST(Units, ReadsProbabilities) {
  EXPECT_EQ(*ParseProbability("1e-5"), 1e-5);
  EXPECT_EQ(*ParseProbability("0.001 %"), 1e-5);
  EXPECT_EQ(*ParseProbability("0.001%"), 1e-5);
  EXPECT_EQ(*ParseProbability("10 %"), 0.1);
  EXPECT_EQ(*ParseProbability("0.1 %"), 0.001);
  EXPECT_EQ(*ParseProbability("100 %"), 1.0);
  EXPECT_EQ(*ParseProbability("0"), 0.0);
  EXPECT_EQ(*ParseProbability("0.0999"), 0.0999);
}

struct Bad {
  const char* text;
  const char* fragment;
};

template <typename Parse>
void ExpectRefused(Parse parse, std::initializer_list<Bad> rows) {
  for (const Bad& row : rows) {
    const auto result = parse(row.text);
    ASSERT_FALSE(result) << row.text;
    EXPECT_EQ(result.error().code, ErrorCode::kInvalid);
    EXPECT_NE(result.error().message.find(row.fragment), std::string::npos)
        << row.text << " gave: " << result.error().message;
  }
}

TEST(Units, RefusesBadTimes) {
  ExpectRefused(ParseTime, {
                               {"25", "it has no unit (ns, us, ms, s, min)"},
                               {"0", "it has no unit"},
                               {"", "it is empty"},
                               {"  ", "it is empty"},
                               {"-5 ms", "must not be negative"},
                               {"ms", "does not begin with a number"},
                               {"nan", "does not begin with a number"},
                               {"nan s", "does not begin with a number"},
                               {"inf s", "does not begin with a number"},
                               {"0x10 s", "unknown unit \"x10 s\""},
                               {"5 ms x", "unknown unit \"ms x\""},
                               {"5 Ms", "unknown unit \"Ms\""},
                               {"5 km", "unknown unit \"km\""},
                               {"1e s", "unknown unit \"e s\""},
                               {"1e-5e s", "unknown unit \"e s\""},
                               {"1.2.3 s", "unknown unit \".3 s\""},
                               {"9223372036854775808 ns", "too large"},
                               {"1e300 s", "too large"},
                               {"1e400 s", "too large"},
                               {"0.4 ns", "less than 1 ns"},
                               {"1e-99 s", "less than 1 ns"},
                               {"1234567890123456789012345 s", "at most 24 digits"},
                               {"25 ", "expected a time such as \"25 ms\""},
                           });
  const std::string endless(1'000, '1');
  EXPECT_NE(ParseTime(endless).error().message.find("too long"), std::string::npos);
  EXPECT_LT(ParseTime(endless).error().message.size(), 200u);
}

TEST(Units, RefusesBadRatesLengthsAndSizes) {
  ExpectRefused(ParseRate, {
                               {"10", "it has no unit (bps, kbps"},
                               {"10 GB/s", "unknown unit \"GB/s\""},
                               {"10 GBps", "expected a rate in bits per second"},
                               {"18446744073709551616 bps", "too large"},
                               {"-1 Gbps", "negative"},
                           });
  ExpectRefused(ParseLength, {{"350", "it has no unit (mm, cm, m, km, mi)"},
                              {"-350 km", "negative"},
                              {"350 KM", "unknown unit \"KM\""},
                              {"9223372036855 km", "too large"}});
  ExpectRefused(ParseBytes, {{"64", "it has no unit (B, kB"},
                             {"64 mb", "unknown unit \"mb\""},
                             {"64 Mbit", "unknown unit \"Mbit\""},
                             {"18446744073709551616 B", "too large"},
                             {"-1 B", "negative"}});
}

TEST(Units, RefusesProbabilitiesThatCouldBePercent) {
  ExpectRefused(ParseProbability, {
                                      {"0.1", "could be meant as percent: write \"0.1 %\""},
                                      {"0.5", "could be meant as percent"},
                                      {"1", "could be meant as percent: write \"1 %\""},
                                      {"7", "could be meant as percent"},
                                      {"101 %", "more than 100 %"},
                                      {"-0.1 %", "negative"},
                                      {"nan", "number"},
                                      {"1e-400", "beyond what a double holds"},
                                      {"1e-4 ppm", "unknown unit \"ppm\" (know %)"},
                                  });
}

TEST(Units, WritesWhatPeopleWouldWrite) {
  EXPECT_EQ(ToText(TimeNs{2'500'000}), "2.5 ms");
  EXPECT_EQ(ToText(TimeNs{13'007'566}), "13.007566 ms");
  EXPECT_EQ(ToText(TimeNs{0}), "0 ns");
  EXPECT_EQ(ToText(TimeNs{-1'500}), "-1.5 us");
  EXPECT_EQ(ToText(kNever), "never");
  EXPECT_EQ(ToText(Rate{400'000'000'000}), "400 Gbps");
  EXPECT_EQ(ToText(Rate{1'600'000'000'000}), "1.6 Tbps");
  EXPECT_EQ(ToText(Length{1'328'000'000}), "1328 km");
  EXPECT_EQ(ToText(Length{1'500}), "1.5 m");
  EXPECT_EQ(BytesToText(64u << 20), "64 MiB");
  EXPECT_EQ(BytesToText(9'000), "9 kB");
  EXPECT_EQ(BytesToText(1'538), "1538 B");
  EXPECT_EQ(BytesToText(0), "0 B");
  EXPECT_EQ(ProbabilityToText(1e-5), "1e-5");
  EXPECT_EQ(ProbabilityToText(0.01), "0.01");
  EXPECT_EQ(ProbabilityToText(0.1), "10 %");
  EXPECT_EQ(ProbabilityToText(0.253), "25.3 %");
  EXPECT_EQ(ProbabilityToText(1), "100 %");
  EXPECT_EQ(ProbabilityToText(0), "0");
  EXPECT_EQ(ProbabilityToText(2.5e-10), "2.5e-10");
}

RC_GTEST_PROP(Units, TimesRoundTrip, ()) {
  const int64_t ns = *rc::gen::inRange<int64_t>(0, INT64_MAX) >> *rc::gen::inRange(0, 63);
  RC_ASSERT(ParseTime(ToText(TimeNs{ns}))->ns == ns);
}

RC_GTEST_PROP(Units, RatesRoundTrip, ()) {
  const uint64_t bits = *rc::gen::inRange<uint64_t>(0, UINT64_MAX) >> *rc::gen::inRange(0, 64);
  RC_ASSERT(ParseRate(ToText(Rate{bits}))->bits_per_s == bits);
}

RC_GTEST_PROP(Units, LengthsRoundTrip, ()) {
  const int64_t mm = *rc::gen::inRange<int64_t>(0, INT64_MAX) >> *rc::gen::inRange(0, 63);
  RC_ASSERT(ParseLength(ToText(Length{mm}))->mm == mm);
}

RC_GTEST_PROP(Units, SizesRoundTrip, ()) {
  const uint64_t bytes = *rc::gen::inRange<uint64_t>(0, UINT64_MAX) >>
                         *rc::gen::inRange(0, 64) << *rc::gen::inRange(0, 40);
  RC_ASSERT(*ParseBytes(BytesToText(bytes)) == bytes);
}

RC_GTEST_PROP(Units, ProbabilitiesRoundTrip, ()) {
  const double mantissa = *rc::gen::inRange<int64_t>(0, int64_t{1} << 53) * 0x1.0p-53;
  const double p = std::ldexp(mantissa, -*rc::gen::inRange(0, 200));
  RC_ASSERT(*ParseProbability(ProbabilityToText(p)) == p);
}

RC_GTEST_PROP(Units, NeverCrashes, (const std::string& text)) {
  (void)ParseTime(text);
  (void)ParseRate(text);
  (void)ParseLength(text);
  (void)ParseBytes(text);
  RC_ASSERT(!ParseProbability(text) || *ParseProbability(text) <= 1);
}

}  // namespace
}  // namespace farspan
