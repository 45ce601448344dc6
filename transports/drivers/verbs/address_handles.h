// AddressHandles: the address handles of a queue pair's destinations, made once each.
//
// Making one asks the kernel, which may ask the network for the neighbour. The cache is bounded:
// anybody can write to a queue pair and be answered. A full one forgets a handle that no request in
// flight uses. Threading: one thread.
#pragma once

#include <infiniband/verbs.h>

#include <functional>
#include <memory>
#include <vector>

#include "transports/core/endpoint.h"

namespace farspan::verbs {

class AddressHandles {
 public:
  // Null where there is no way to the address.
  using Make = std::function<ibv_ah*(const transport::Address& to, bool ecn_capable)>;
  using Release = std::function<void(ibv_ah*)>;

  AddressHandles(Make make, Release release, size_t most);
  AddressHandles(const AddressHandles&) = delete;
  AddressHandles& operator=(const AddressHandles&) = delete;
  ~AddressHandles();

  enum class Outcome : uint8_t { kFound, kNoWay, kAllBusy };
  struct Found {
    Outcome outcome = Outcome::kFound;
    ibv_ah* handle = nullptr;
  };
  // For request number `use`; requests up to `done` have left.
  Found find(const transport::Address& to, bool ecn_capable, uint64_t use, uint64_t done);

 private:
  struct Entry {
    transport::Address to;
    bool ecn_capable = false;
    ibv_ah* handle = nullptr;
    uint64_t last_use = 0;
  };

  const Make make_;
  const Release release_;
  const size_t most_;
  std::vector<Entry> entries_;
};

}  // namespace farspan::verbs
