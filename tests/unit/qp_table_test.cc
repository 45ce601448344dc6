// The table of queue pairs against a map, through insertions, evictions and look-ups.
#include "emulator/roce/qp_table.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <map>

namespace farspan::roce {
namespace {

QpKey Key(uint32_t n) {
  QpKey key{.dest_qp = n};
  key.src[3] = static_cast<uint8_t>(n % 3);
  return key;
}

RC_GTEST_PROP(QpTable, AgreesWithAMap, ()) {
  const auto capacity = *rc::gen::inRange<uint32_t>(1, 40);
  QpTable table(capacity);
  std::map<uint32_t, uint32_t> entries;  // by n
  std::map<uint32_t, uint32_t> owners;   // by entry
  const auto steps = *rc::gen::container<std::vector<uint32_t>>(rc::gen::inRange<uint32_t>(0, 100));
  for (const uint32_t n : steps) {
    const QpTable::Place place = table.place(Key(n));
    RC_ASSERT(place.entry < capacity);
    RC_ASSERT(place.fresh == (entries.count(n) == 0));
    if (!place.fresh) RC_ASSERT(entries[n] == place.entry);
    RC_ASSERT(place.evicted == (place.fresh && owners.count(place.entry) == 1));
    RC_ASSERT(!place.evicted || owners.size() == capacity);
    if (place.evicted) entries.erase(owners[place.entry]);
    entries[n] = place.entry;
    owners[place.entry] = n;
    RC_ASSERT(table.size() == owners.size());
    for (uint32_t other = 0; other < 100; other += 7) {
      const auto at = entries.find(other);
      RC_ASSERT(table.find(Key(other)) == (at == entries.end() ? QpTable::kNone : at->second));
    }
  }
}

TEST(QpTable, KeysDifferByEachField) {
  QpTable table(16);
  QpKey key = Key(1);
  const uint32_t first = table.place(key).entry;
  EXPECT_EQ(table.find(key), first);
  key.direction = 1;
  EXPECT_EQ(table.find(key), QpTable::kNone);
  key = Key(1);
  key.src_qp = 1;
  EXPECT_EQ(table.find(key), QpTable::kNone);
  key = Key(1);
  key.dst[15] = 1;
  EXPECT_EQ(table.find(key), QpTable::kNone);
}

// What is used again and again stays, whatever else comes.
TEST(QpTable, TheUsedStay) {
  QpTable table(32);
  const uint32_t used = table.place(Key(0)).entry;
  for (uint32_t n = 1; n < 10'000; ++n) {
    table.place(Key(n));
    EXPECT_EQ(table.find(Key(0)), used);
  }
}

}  // namespace
}  // namespace farspan::roce
