#include "emulator/base/nearest.h"

#include <gtest/gtest.h>

#include <array>
#include <string>
#include <string_view>
#include <vector>

namespace farspan {
namespace {

using Words = std::vector<std::string_view>;
constexpr std::array<std::string_view, 5> kKnown{"delay", "rate", "jitter", "loss", "duplicate"};

TEST(Nearest, FindsWhatASlipOfTheHandExplains) {
  EXPECT_EQ(NearestWords("dealy", kKnown), Words{"delay"});    // a swap
  EXPECT_EQ(NearestWords("DELAYS", kKnown), Words{"delay"});   // case, one letter more
  EXPECT_EQ(NearestWords("los", kKnown), Words{"loss"});       // one letter less
  EXPECT_EQ(NearestWords("dup", kKnown), Words{"duplicate"});  // a beginning
  EXPECT_EQ(NearestWords("duplicute", kKnown), Words{"duplicate"});
}

TEST(Nearest, IsSilentAboutStrangers) {
  EXPECT_TRUE(NearestWords("bandwidth", kKnown).empty());
  EXPECT_TRUE(NearestWords("", kKnown).empty());
  EXPECT_TRUE(NearestWords(std::string(1000, 'd'), kKnown).empty());
  EXPECT_EQ(DidYouMean("bandwidth", kKnown), "");
}

TEST(Nearest, OrdersByDistanceThenByPlace) {
  constexpr std::array<std::string_view, 3> known{"abcdeff", "abcdxf", "abcdef"};
  EXPECT_EQ(NearestWords("abcdeg", known, 2), (Words{"abcdef", "abcdeff"}));
  EXPECT_EQ(DidYouMean("abcdeg", known), "did you mean \"abcdef\", \"abcdeff\" or \"abcdxf\"?");
}

}  // namespace
}  // namespace farspan
