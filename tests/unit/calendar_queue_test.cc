#include "emulator/link/calendar_queue.h"

#include <gtest/gtest.h>

#include <set>

#include "emulator/base/random.h"
#include "emulator/link/bit_ring.h"

namespace farspan::link {
namespace {

// Against an ordered set, for every size of ring and every density.
TEST(BitRing, AgreesWithAnOrderedSet) {
  uint64_t draws = 0;
  const auto below = [&](uint64_t n) { return Draw({3}, RandomPurpose::kTest, draws++).lo % n; };
  for (const size_t size : {1u, 2u, 64u, 128u, 4'096u, 8'192u, 1u << 20}) {
    BitRing ring(size);
    std::set<size_t> reference;
    for (int i = 0; i < 3'000; ++i) {
      const size_t slot = below(size);
      if (below(3) == 0) {
        ring.clear(slot);
        reference.erase(slot);
      } else {
        ring.set(slot);
        reference.insert(slot);
      }
      if (reference.size() > 5) {  // keep it sparse
        ring.clear(*reference.begin());
        reference.erase(reference.begin());
      }
      if (reference.empty()) continue;
      const size_t from = below(size);
      const auto next = reference.lower_bound(from);
      const size_t expected =
          next != reference.end() ? *next - from : *reference.begin() + size - from;
      ASSERT_EQ(ring.distance(from), expected) << size << " from " << from;
    }
  }
}

// A driver that sleeps until the deadline must not be woken for every empty day.
TEST(CalendarQueue, TheDeadlineSkipsEmptyDays) {
  CalendarQueue queue(100'000, TimeNs{10'000'000}, TimeNs{0});
  const TimeNs due{7'654'321};
  queue.push({.packet = {.due = due}});
  int polls = 0;
  TimeNs now{};
  for (; queue.top() == nullptr; ++polls) {
    ASSERT_GE(queue.next_deadline(), now);
    now = queue.next_deadline();
    ASSERT_LE(now, due) << "never late";
    queue.advance(now);
  }
  EXPECT_LE(polls, 1);
  EXPECT_EQ(queue.next_deadline(), due);
  EXPECT_EQ(queue.pop().packet.due, due);
  EXPECT_EQ(queue.next_deadline(), kNever);
}

TEST(CalendarQueue, WhatIsDueBeyondTheHorizonComesInALaterRound) {
  CalendarQueue queue(100, TimeNs{1'000}, TimeNs{0});
  const TimeNs due{1'000'000};
  queue.push({.packet = {.due = due}});
  int polls = 0;
  for (TimeNs now{}; queue.top() == nullptr; ++polls) {
    now = queue.next_deadline();
    ASSERT_LE(now, due);
    queue.advance(now);
  }
  EXPECT_LT(polls, 2'000) << "one poll a round";
  EXPECT_EQ(queue.top()->packet.due, due);
}

}  // namespace
}  // namespace farspan::link
