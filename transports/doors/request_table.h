// RequestTable: a library's requests behind the numbers that Transport gives out.
#pragma once

#include <cstdint>
#include <vector>

#include "emulator/base/check.h"
#include "transports/core/transport.h"

namespace farspan::doors {

template <typename Theirs>
class RequestTable {
 public:
  struct Entry {
    Theirs theirs{};
    uint32_t comm = 0;
    uint32_t generation = 0;
    bool in_use = false;
  };

  transport::RequestId add(transport::CommId comm, const Theirs& theirs) {
    if (free_.empty()) {
      free_.push_back(static_cast<uint32_t>(entries_.size()));
      entries_.emplace_back();
    }
    const uint32_t index = free_.back();
    free_.pop_back();
    entries_[index] = {theirs, comm.value, entries_[index].generation + 1, true};
    return {index, entries_[index].generation};
  }

  Entry& find(transport::RequestId id) {
    FARSPAN_CHECK(id.index < entries_.size());
    Entry& entry = entries_[id.index];
    FARSPAN_CHECK(entry.in_use && entry.generation == id.generation);
    return entry;
  }

  void release(Entry& entry) {
    entry.in_use = false;
    free_.push_back(static_cast<uint32_t>(&entry - entries_.data()));
  }

  // visit(entry) for every request of a comm, or of all.
  template <typename Visit>
  void each(Visit visit) {
    for (Entry& entry : entries_) {
      if (entry.in_use) visit(entry);
    }
  }

 private:
  std::vector<Entry> entries_;
  std::vector<uint32_t> free_;
};

}  // namespace farspan::doors
