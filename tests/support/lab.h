// What a test may ask of the machine: root, namespaces, hugepages, QEMU.
//
// On a person's machine a test that lacks it skips, saying why; where FARSPAN_REQUIRE_LAB=1 (as in
// .ci/run) it fails instead, so that no environment can quietly test nothing. Use in a test's body
// or in SetUp():
//   FARSPAN_NEED_LAB(geteuid() == 0, "needs root: sudo scripts/test.sh");
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <string_view>

namespace farspan::test {

inline bool LabRequired() {
  const char* value = std::getenv("FARSPAN_REQUIRE_LAB");
  return value != nullptr && std::string_view(value) == "1";
}

}  // namespace farspan::test

#define FARSPAN_NEED_LAB(condition, reason)                                       \
  do {                                                                            \
    if (!(condition)) {                                                           \
      if (::farspan::test::LabRequired()) {                                       \
        FAIL() << "FARSPAN_REQUIRE_LAB=1, but the lab is not here: " << (reason); \
      }                                                                           \
      GTEST_SKIP() << (reason);                                                   \
    }                                                                             \
  } while (false)
