// ObserverSpec: whether and how a link's queue pairs are followed. Plain data.
#pragma once

#include <cstdint>

namespace farspan::roce {

struct ObserverSpec {
  bool enabled = true;
  uint32_t queue_pairs = 1024;  // followed at a time, per link
  bool check_icrc = false;      // of every packet that enters
  friend bool operator==(const ObserverSpec&, const ObserverSpec&) = default;
};

}  // namespace farspan::roce
