// Bootstrap: how the ranks of a run find each other and exchange small things, over TCP.
//
// Rank 0 listens at the root address; the others connect, retrying until the timeout. A star: every
// exchange goes through rank 0, which is slow and enough for handles and barriers. Blocking, one
// thread; every call is bounded by the timeout. What goes wrong is said on every rank that can
// still be reached: a missing rank, two with one number, another world size, another run.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "emulator/base/result.h"
#include "emulator/base/time.h"
#include "transports/drivers/address.h"

namespace farspan::testbed {

struct Membership {
  uint32_t rank = 0;
  uint32_t world = 1;
  SocketAddress root;  // where rank 0 listens
  std::string run;     // must be the same on all ranks: what is to be run, with its sizes
  TimeNs timeout{30'000'000'000};
};

class Bootstrap {
 public:
  static Result<std::unique_ptr<Bootstrap>> Join(const Membership& membership);
  ~Bootstrap();

  uint32_t rank() const { return membership_.rank; }
  uint32_t world() const { return membership_.world; }
  // Every rank's bytes, by rank. While the others are awaited `meanwhile` is called again and
  // again: a transport that lives in this process must go on answering its peers. It should take
  // about a millisecond where it has nothing to do.
  Result<std::vector<std::string>> all_gather(std::string_view mine,
                                              const std::function<void()>& meanwhile = {});
  Result<void> barrier(const std::function<void()>& meanwhile = {});

 private:
  explicit Bootstrap(const Membership& membership) : membership_(membership) {}
  Result<void> gather_members();
  Result<bool> take_member(int listener);
  std::string missing_members() const;
  Result<void> join_root();
  Result<void> introduce(int fd);

  Membership membership_;
  std::vector<int> peers_;  // rank 0: one per rank, itself -1; others: rank 0's alone
};

}  // namespace farspan::testbed
