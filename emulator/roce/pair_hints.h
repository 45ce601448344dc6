// PairHints: who sent a request with this PSN, so that its answer finds it.
//
// A direct-mapped table of the last requests, of queue pairs that are not matched yet, that called
// for an answer. Where two queue pairs between the same hosts sent the same PSN within `memory`,
// the hint is ambiguous and says nobody. Threads: one. No allocation after construction.
#pragma once

#include <bit>
#include <cstdint>
#include <vector>

#include "emulator/base/time.h"
#include "emulator/roce/qp_table.h"

namespace farspan::roce {

class PairHints {
 public:
  struct Hint {
    uint64_t key = 0;
    uint32_t entry = QpTable::kNone;
    TimeNs at{};
  };

  explicit PairHints(uint32_t capacity) : hints_(std::bit_ceil(size_t{capacity})) {}

  // `key` is MixBits of what a request and its answer have in common.
  void note(uint64_t key, uint32_t entry, TimeNs now, TimeNs memory) {
    Hint& hint = at(key);
    const bool other = hint.key == key && hint.entry != entry && now - hint.at < memory;
    hint = {key, other ? QpTable::kNone : entry, now};
  }

  // QpTable::kNone where nobody is known, or several are.
  uint32_t find(uint64_t key) const {
    const Hint& hint = hints_[key & (hints_.size() - 1)];
    return hint.key == key ? hint.entry : QpTable::kNone;
  }

 private:
  Hint& at(uint64_t key) { return hints_[key & (hints_.size() - 1)]; }

  std::vector<Hint> hints_;
};

}  // namespace farspan::roce
