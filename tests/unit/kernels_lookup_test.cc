// What the CUDA kernels are made of, run on the host: products by byte permutation, words from any
// address, plans entry by entry, and the CRC as the lanes of a warp sum it up.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <random>
#include <vector>

#include "kernels/cpu/crc32c.h"
#include "kernels/cpu/parity.h"
#include "kernels/math/crc32c.h"
#include "kernels/math/lookup.h"

namespace farspan::kernels::testing {
namespace {

constexpr Galois kField;

TEST(Lookup, MultipliesAllBytesByAllCoefficients) {
  for (uint32_t c = 0; c < 256; ++c) {
    const ProductTable table = MakeProductTable(c);
    for (uint32_t value = 0; value < 256; value += 4) {
      const uint32_t bytes = value | (value + 1) << 8 | (value + 2) << 16 | (value + 3) << 24;
      const uint32_t product = Product(table, SelectorsOf(bytes));
      for (uint32_t i = 0; i < 4; ++i) {
        ASSERT_EQ(product >> 8 * i & 0xff, GaloisProduct(kField, c, value + i)) << c;
      }
    }
  }
}

TEST(Lookup, SelectorsKeepClearOfTheSignBits) {
  std::mt19937 engine(1);
  for (int i = 0; i < 1000; ++i) {
    const Selectors s = SelectorsOf(static_cast<uint32_t>(engine()));
    EXPECT_EQ((s.low | s.middle | s.high) & 0x8888, 0u);
  }
}

TEST(Lookup, TakesSixteenBytesFromAnywhere) {
  std::array<uint8_t, 32> bytes;
  for (uint8_t i = 0; i < 32; ++i) bytes[i] = static_cast<uint8_t>(3 * i + 1);
  Words4 first;
  Words4 second;
  std::memcpy(&first, bytes.data(), 16);
  std::memcpy(&second, bytes.data() + 16, 16);
  for (uint32_t skip = 0; skip < 16; ++skip) {
    const Words4 out = BytesFrom(first, second, skip);
    EXPECT_EQ(std::memcmp(&out, bytes.data() + skip, 16), 0) << skip;
  }
}

// The kernel's inner loop on a stripe: plan, tables, selectors, sums of products.
TEST(Lookup, DecodesAStripe) {
  std::mt19937 engine(2);
  constexpr fsk_parity_code kCode{FSK_RS, 20, 2, 6};
  std::vector<uint32_t> symbols(26);
  Combination plan;
  PlanParity(kCode, 20, nullptr, plan);
  for (uint32_t i = 0; i < 20; ++i) symbols[i] = static_cast<uint32_t>(engine());
  const auto run = [&] {
    for (uint32_t row = 0; row < plan.rows; ++row) {
      uint32_t sum = 0;
      for (uint32_t i = 0; i < plan.inputs; ++i) {
        sum ^= Product(MakeProductTable(plan.coefficient[row * plan.inputs + i]),
                       SelectorsOf(symbols[plan.input[i]]));
      }
      symbols[plan.output[row]] = sum;
    }
  };
  run();
  const std::vector<uint32_t> whole = symbols;
  const uint32_t lost[FSK_LOST_WORDS] = {1u << 0 | 1u << 7 | 1u << 19 | 1u << 21 | 1u << 24};
  for (uint32_t i = 0; i < 20; ++i) {
    if (IsLost(lost, i)) symbols[i] = 0xdeadbeef;
  }
  PlanParity(kCode, 20, lost, plan);
  EXPECT_EQ(plan.rows, 3u);
  run();
  EXPECT_EQ(symbols, whole);
}

// CrcKernel's arithmetic, lane by lane.
uint32_t WarpCrc(const std::vector<uint8_t>& packet) {
  constexpr uint32_t kRow = 512;
  const CrcTables next_row(CrcPower(8 * kRow));
  const CrcTables next_word(CrcPower(32));
  const size_t rows = (packet.size() + kRow - 1) / kRow;
  std::vector<uint8_t> padded(rows * kRow - packet.size());
  padded.insert(padded.end(), packet.begin(), packet.end());
  uint32_t crc = CrcProduct(0xffffffff, CrcPower(8 * packet.size()));
  for (uint32_t lane = 0; lane < 32; ++lane) {
    Words4 sum{};
    for (size_t row = 0; row < rows; ++row) {
      Words4 in;
      std::memcpy(&in, padded.data() + row * kRow + lane * 16, 16);
      for (uint32_t w = 0; w < 4; ++w) sum.word[w] = CrcTimes(next_row, sum.word[w]) ^ in.word[w];
    }
    uint32_t of_lane = 0;
    for (uint32_t w = 0; w < 4; ++w) of_lane = CrcTimes(next_word, of_lane ^ sum.word[w]);
    crc ^= CrcProduct(of_lane, CrcPower(128 * (31 - lane)));
  }
  return ~crc;
}

TEST(CrcArithmetic, AddsUpOverTheLanesOfAWarp) {
  std::mt19937 engine(3);
  for (const size_t bytes : {0, 1, 15, 16, 511, 512, 513, 1500, 4096}) {
    std::vector<uint8_t> packet(bytes);
    std::generate(packet.begin(), packet.end(), [&] { return static_cast<uint8_t>(engine()); });
    EXPECT_EQ(WarpCrc(packet), Crc32c(packet.data(), static_cast<uint32_t>(bytes))) << bytes;
  }
}

}  // namespace
}  // namespace farspan::kernels::testing
