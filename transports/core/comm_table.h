// CommTable: the listeners and comms of a transport behind the numbers that Transport gives out.
//
// A comm that has come to a listener waits there until it is accepted. A number that is not there
// is the caller's error. Threading: one thread. Ownership: the table owns both; references hold
// until their number is erased.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <utility>

#include "emulator/base/check.h"
#include "transports/core/transport.h"

namespace farspan::transport {

template <typename Listener, typename Comm>
class CommTable {
 public:
  using Comms = std::map<uint32_t, std::unique_ptr<Comm>>;

  struct Listening {
    Listener listener;
    std::deque<CommId> accepted;  // oldest first; until accept() takes them
  };
  using Listeners = std::map<uint32_t, Listening>;

  ListenId listen(Listener listener) {
    listeners_.emplace(next_, Listening{std::move(listener), {}});
    return {next_++};
  }
  CommId add(std::unique_ptr<Comm> comm) {
    comms_.emplace(next_, std::move(comm));
    return {next_++};
  }
  std::optional<CommId> accept(ListenId listener) {
    std::deque<CommId>& accepted = find(listener).accepted;
    if (accepted.empty()) return std::nullopt;
    const CommId comm = accepted.front();
    accepted.pop_front();
    return comm;
  }

  Listening& find(ListenId listener) {
    const auto found = listeners_.find(listener.value);
    FARSPAN_CHECK(found != listeners_.end());
    return found->second;
  }
  Comm& find(CommId comm) const {
    const auto found = comms_.find(comm.value);
    FARSPAN_CHECK(found != comms_.end());
    return *found->second;
  }
  // The comms that wait there stay.
  void erase(ListenId listener) { listeners_.erase(listener.value); }
  void erase(CommId comm) { comms_.erase(comm.value); }

  // By number, all of them.
  const Comms& comms() const { return comms_; }
  const Listeners& listeners() const { return listeners_; }
  Listeners& listeners() { return listeners_; }

 private:
  Listeners listeners_;
  Comms comms_;
  uint32_t next_ = 1;
};

}  // namespace farspan::transport
