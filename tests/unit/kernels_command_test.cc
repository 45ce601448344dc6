// farspan-kernels refuses what would do nothing.
#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "tests/support/execute.h"

namespace farspan {
namespace {

TEST(KernelsCommand, AnOptionThatWouldDoNothingIsRefused) {
  for (const auto& [options, word] : {std::pair{"--check --time", "leave both out"},
                                      {"--time --small", "--small is of the checks"},
                                      {"--check --bytes 1M", "--bytes is of the timing"},
                                      {"--check --sms 4", "--sms is of the timing"},
                                      {"--check --seconds 1", "--seconds is of the timing"},
                                      {"--check --commit abc", "--commit needs --json"},
                                      {"--time --sms 4", "this device is the CPU"},
                                      {"--time --bytes 0", "cannot be timed"},
                                      {"--time --seconds 1x", "a number above 0"}}) {
    const auto run =
        test::Execute(std::string(FARSPAN_KERNELS " --device cpu ") + options + " 2>&1");
    EXPECT_EQ(run.exit_code, 2) << options << run.output;
    EXPECT_NE(run.output.find(word), std::string::npos) << options << run.output;
  }
  // Each of them acts in its own place.
  const auto run = test::Execute(
      FARSPAN_KERNELS
      " --device cpu --time --bytes 4K --seconds 1e-3 --filter crc --json /dev/null --commit abc");
  EXPECT_EQ(run.exit_code, 0) << run.output;
}

}  // namespace
}  // namespace farspan
