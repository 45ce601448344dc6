#include <gtest/gtest.h>

#include <deque>
#include <random>

#include "emulator/dpdk/pcapng_writer.h"
#include "tests/support/frame_builder.h"

namespace farspan::dpdk {
namespace {

using test::Bytes;

TEST(ByteRing, KeepsRecordsOfAnyLengthInOrder) {
  ByteRing ring(256);
  std::deque<Bytes> expected;
  std::minstd_rand random(1);
  Bytes out;
  int refused = 0;
  for (int step = 0; step < 20'000; ++step) {
    if (random() % 2 == 0) {
      Bytes record(random() % 100);
      for (uint8_t& byte : record) byte = static_cast<uint8_t>(random());
      const size_t first = record.empty() ? 0 : random() % record.size();
      size_t used = 4 + record.size();
      for (const Bytes& held : expected) used += 4 + held.size();
      const bool taken =
          ring.push(std::span(record).first(first), std::span(record).subspan(first));
      ASSERT_EQ(taken, used <= 256);
      refused += !taken;
      if (taken) expected.push_back(record);
    } else {
      ASSERT_EQ(ring.pop(out), !expected.empty());
      if (expected.empty()) continue;
      ASSERT_EQ(out, expected.front());
      expected.pop_front();
    }
  }
  EXPECT_GT(refused, 100);
}

}  // namespace
}  // namespace farspan::dpdk
