// FARSPAN_CHECK: programmer errors end the process, in every build.
//
// Operating errors (configuration, sockets, the machine) are Results (result.h); what happens to a
// packet is a verdict. A check says only "this code is wrong".
#pragma once

#include <cstdio>
#include <cstdlib>

namespace farspan::internal {
[[noreturn]] inline void CheckFailed(const char* condition, const char* file, int line) {
  std::fprintf(stderr, "%s:%d: FARSPAN_CHECK failed: %s\n", file, line, condition);
  std::abort();
}
}  // namespace farspan::internal

#define FARSPAN_CHECK(condition)                     \
  (__builtin_expect(static_cast<bool>(condition), 1) \
       ? static_cast<void>(0)                        \
       : ::farspan::internal::CheckFailed(#condition, __FILE__, __LINE__))
