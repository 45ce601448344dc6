// Conformance of a library from outside (doors/open_library.h), however badly it behaves.
//
// Each case runs in a process of its own, made by fork, with both ends in it: a library that
// crashes, ends the process or never returns from a call fails that case, and the next begins
// afresh. A process that outlives the case's time by a second is killed, with all of its group.
// Threading: call it before any thread is started.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "emulator/base/result.h"
#include "transports/doors/door_config.h"

namespace farspan::testbed {

struct LibraryCase {
  enum class Verdict { kPassed, kFailed, kNotAsked };  // not asked: NCCL's API does not promise it
  std::string name;
  Verdict verdict = Verdict::kFailed;
  std::string detail;
};

struct LibraryReport {
  std::string file;  // as given
  std::string name;  // of the transport
  std::string door;
  std::vector<LibraryCase> cases;
  bool conforms() const;
};

struct LibraryConformance {
  std::string path;
  doors::DoorConfig config;
  TimeNs timeout{10'000'000'000};  // of a case
  std::string only;                // the cases with this in their name; "": all
};

// Calls `each` after every case. An error: the library cannot be opened, or there is no such case.
Result<LibraryReport> RunLibraryConformance(const LibraryConformance& options,
                                            const std::function<void(const LibraryCase&)>& each);

}  // namespace farspan::testbed
