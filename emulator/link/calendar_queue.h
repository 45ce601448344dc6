// CalendarQueue: packets whose departures are not in order of arrival (reordering jitter, delayed
// by a fault), by due time.
//
// R. Brown, "Calendar queues" (CACM 31(10), 1988), with fixed days: a ring of buckets of equal
// width over the planned horizon, each an unordered list; the day that has begun is a small binary
// heap. Insertion and removal are O(1) amortised. What is due beyond the horizon waits in its
// bucket for later rounds of the ring.
// Capacity is fixed at construction, all memory is touched there. Single thread.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <vector>

#include "emulator/base/check.h"
#include "emulator/base/time.h"
#include "emulator/link/bit_ring.h"
#include "emulator/link/packet_ref.h"

namespace farspan::link {

// A packet under way with what the cut rule needs to know of it.
struct InFlight {
  PacketRef packet;  // due = departure
  TimeNs entry{};    // into the glass
  uint32_t epoch = 0;
};

class CalendarQueue {
 public:
  CalendarQueue(uint64_t capacity, TimeNs horizon, TimeNs start)
      : nodes_(capacity),
        buckets_(BucketCount(capacity), kNone),
        taken_(buckets_.size()),
        width_{std::max<int64_t>(1, horizon.ns / static_cast<int64_t>(buckets_.size() / 2))},
        day_(DayOf(start)) {
    for (size_t i = nodes_.size(); i-- > 0;) put(static_cast<uint32_t>(i));
    today_.resize(capacity);
    today_.clear();
  }

  static uint64_t MemoryBytes(uint64_t capacity) {
    const uint64_t buckets = BucketCount(capacity);
    return capacity * (sizeof(Node) + sizeof(InFlight)) + buckets * sizeof(uint32_t) +
           BitRing::MemoryBytes(buckets);
  }

  bool empty() const { return today_.empty() && waiting_ == 0; }

  void push(const InFlight& item) {
    if (DayOf(item.packet.due) <= day_) {
      push_today(item);
      return;
    }
    FARSPAN_CHECK(free_ != kNone);
    const uint32_t node = free_;
    free_ = nodes_[node].next;
    nodes_[node].item = item;
    put_in_bucket(node);
    ++waiting_;
  }

  // Makes everything due by `now` visible to top().
  void advance(TimeNs now) {
    const int64_t last = DayOf(now);
    if (waiting_ == 0) {
      day_ = std::max(day_, last);
      return;
    }
    // After a long idle time one round of the ring visits every bucket.
    const auto size = static_cast<int64_t>(buckets_.size());
    int64_t day = std::max(day_ + 1, last - size + 1);
    day_ = std::max(day_, last);
    while (waiting_ != 0) {
      day = next_taken(day);
      if (day > last) return;
      open(day++);
    }
  }

  // After advance(now): the earliest, if due by then.
  const InFlight* top() const { return today_.empty() ? nullptr : &today_.front(); }
  InFlight pop() {
    std::pop_heap(today_.begin(), today_.end(), Later{});
    const InFlight item = today_.back();
    today_.pop_back();
    return item;
  }

  // No later than the earliest due: exact once its day has begun, else the beginning of the next
  // day with something in its bucket.
  TimeNs next_deadline() const {
    if (!today_.empty()) return today_.front().packet.due;
    return waiting_ == 0 ? kNever : TimeNs{next_taken(day_ + 1) * width_.ns};
  }

 private:
  static constexpr uint32_t kNone = UINT32_MAX;
  struct Node {
    InFlight item;
    uint32_t next = kNone;
  };
  // A duplicate comes before its original.
  struct Later {
    bool operator()(const InFlight& a, const InFlight& b) const {
      if (a.packet.due == b.packet.due && a.packet.sequence == b.packet.sequence) {
        return (a.packet.flags & kDuplicate) < (b.packet.flags & kDuplicate);
      }
      return DepartsBefore(b.packet, a.packet);
    }
  };

  static uint64_t BucketCount(uint64_t capacity) {
    return std::bit_ceil(std::clamp<uint64_t>(capacity, 64, 1u << 20));
  }
  size_t bucket_of(int64_t day) const { return static_cast<uint64_t>(day) & (buckets_.size() - 1); }
  // The first day from `day` on with something in its bucket; something must wait.
  int64_t next_taken(int64_t day) const {
    return day + static_cast<int64_t>(taken_.distance(bucket_of(day)));
  }
  int64_t DayOf(TimeNs t) const { return t.ns / width_.ns; }
  void put(uint32_t node) {
    nodes_[node].next = free_;
    free_ = node;
  }
  void put_in_bucket(uint32_t node) {
    const size_t bucket = bucket_of(DayOf(nodes_[node].item.packet.due));
    nodes_[node].next = buckets_[bucket];
    buckets_[bucket] = node;
    taken_.set(bucket);
  }
  void push_today(const InFlight& item) {
    today_.push_back(item);
    std::push_heap(today_.begin(), today_.end(), Later{});
  }
  void open(int64_t day) {
    uint32_t node = buckets_[bucket_of(day)];
    buckets_[bucket_of(day)] = kNone;
    taken_.clear(bucket_of(day));
    while (node != kNone) {
      const uint32_t next = nodes_[node].next;
      if (DayOf(nodes_[node].item.packet.due) <= day_) {
        push_today(nodes_[node].item);
        put(node);
        --waiting_;
      } else {
        put_in_bucket(node);
      }
      node = next;
    }
  }

  std::vector<Node> nodes_;
  std::vector<uint32_t> buckets_;
  BitRing taken_;
  const TimeNs width_;
  int64_t day_;
  uint32_t free_ = kNone;
  uint64_t waiting_ = 0;
  std::vector<InFlight> today_;
};

}  // namespace farspan::link
