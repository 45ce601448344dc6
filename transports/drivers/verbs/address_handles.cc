#include "transports/drivers/verbs/address_handles.h"

#include <algorithm>
#include <utility>

namespace farspan::verbs {

AddressHandles::AddressHandles(Make make, Release release, size_t most)
    : make_(std::move(make)), release_(std::move(release)), most_(most) {
  entries_.reserve(most);
}

AddressHandles::~AddressHandles() {
  for (const Entry& entry : entries_) release_(entry.handle);
}

AddressHandles::Found AddressHandles::find(const transport::Address& to, bool ecn_capable,
                                           uint64_t use, uint64_t done) {
  for (Entry& entry : entries_) {
    if (entry.to == to && entry.ecn_capable == ecn_capable) {
      entry.last_use = use;
      return {Outcome::kFound, entry.handle};
    }
  }
  if (entries_.size() == most_) {
    const auto oldest =
        std::min_element(entries_.begin(), entries_.end(),
                         [](const Entry& a, const Entry& b) { return a.last_use < b.last_use; });
    if (oldest->last_use > done) return {Outcome::kAllBusy, nullptr};
    release_(oldest->handle);
    *oldest = entries_.back();
    entries_.pop_back();
  }
  ibv_ah* handle = make_(to, ecn_capable);
  if (handle == nullptr) return {Outcome::kNoWay, nullptr};
  entries_.push_back({to, ecn_capable, handle, use});
  return {Outcome::kFound, handle};
}

}  // namespace farspan::verbs
