// The ABI's promises to careless callers: every bad argument has its own answer and nothing is
// written; CRC32C against published values and a bitwise loop.
#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "kernels/cpu/crc32c.h"
#include "kernels/math/crc32c.h"
#include "tests/support/kernels_support.h"

namespace farspan::kernels::testing {
namespace {

using ::testing::Test;

TEST(Abi, NamesItsErrors) {
  EXPECT_EQ(fsk_abi_version(), FSK_ABI_VERSION);
  EXPECT_STREQ(fsk_strerror(FSK_OK), "success");
  for (uint32_t status = 1; status <= FSK_BAD_VERSION; ++status) {
    EXPECT_STRNE(fsk_strerror(static_cast<fsk_status>(status)), "unknown status");
  }
  EXPECT_TRUE(fsk_has_device(FSK_CPU));
  EXPECT_STRNE(fsk_device_name(FSK_CPU), "none");
}

class BadArguments : public Test {
 protected:
  alignas(64) std::array<float, 256> values{};
  alignas(64) std::array<uint8_t, 256> codes{};
  alignas(64) std::array<float, 2> scales{};
  fsk_quantiser quantiser{FSK_INT8, FSK_NEAREST, 0};
  fsk_quantise_item item{values.data(), codes.data(), scales.data(), 256, 0};

  fsk_status quantise(const fsk_exec& exec = kCpu, fsk_type type = FSK_FP32) {
    return fsk_quantise(&exec, type, &quantiser, &item, 1);
  }
};

TEST_F(BadArguments, OfTheCall) {
  EXPECT_EQ(quantise(), FSK_OK);
  EXPECT_EQ(fsk_quantise(nullptr, FSK_FP32, &quantiser, &item, 1), FSK_BAD_ARGUMENT);
  EXPECT_EQ(fsk_quantise(&kCpu, FSK_FP32, nullptr, &item, 1), FSK_BAD_ARGUMENT);
  EXPECT_EQ(fsk_quantise(&kCpu, FSK_FP32, &quantiser, nullptr, 1), FSK_BAD_ARGUMENT);
  EXPECT_EQ(fsk_quantise(&kCpu, FSK_FP32, &quantiser, nullptr, 0), FSK_OK);
  EXPECT_EQ(quantise(kCpu, FSK_FP16), FSK_BAD_ARGUMENT);
  fsk_exec exec = kCpu;
  exec.abi_version = FSK_ABI_VERSION + 1;
  EXPECT_EQ(quantise(exec), FSK_BAD_VERSION);
  exec = kCpu;
  exec.device = static_cast<fsk_device>(9);
  EXPECT_EQ(quantise(exec), FSK_BAD_ARGUMENT);
  exec.device = FSK_CUDA;
  if (!fsk_has_device(FSK_CUDA)) {
    EXPECT_EQ(quantise(exec), FSK_NO_DEVICE);
  }
  quantiser.rounding = static_cast<fsk_rounding>(2);
  EXPECT_EQ(quantise(), FSK_BAD_ARGUMENT);
  EXPECT_NE(std::string(fsk_last_error()).find("rounding is 2"), std::string::npos);
}

TEST_F(BadArguments, OfAnItem) {
  item.first_element = 64;
  EXPECT_EQ(quantise(), FSK_BAD_ARGUMENT);
  item.first_element = 0;
  item.elements = FSK_ELEMENTS_MAX + 1;
  EXPECT_EQ(quantise(), FSK_BAD_ARGUMENT);
  item.elements = 256;
  item.codes = nullptr;
  EXPECT_EQ(quantise(), FSK_BAD_ARGUMENT);
  item.elements = 0;  // nothing is looked at
  EXPECT_EQ(quantise(), FSK_OK);
  item = {values.data(), codes.data(), scales.data(), 256, 0};
  item.values = reinterpret_cast<char*>(values.data()) + 2;
  item.elements = 128;
  EXPECT_EQ(quantise(), FSK_BAD_ALIGNMENT);
  EXPECT_EQ(quantise(kCpu, FSK_BF16), FSK_OK);
  item.codes = reinterpret_cast<uint8_t*>(values.data()) + 8;
  EXPECT_EQ(quantise(kCpu, FSK_BF16), FSK_ALIASING);
  EXPECT_NE(std::string(fsk_last_error()).find("item 0: codes"), std::string::npos);
}

TEST_F(BadArguments, OfAReduction) {
  fsk_reduce_item reduce{};
  reduce.in[0] = values.data();
  reduce.in[1] = values.data() + 64;
  reduce.out = values.data();
  reduce.elements = 64;
  reduce.sources = 2;
  const auto run = [&] { return fsk_reduce(&kCpu, FSK_FP32, FSK_SUM, &reduce, 1); };
  EXPECT_EQ(run(), FSK_OK);
  reduce.elements = 65;  // in[1] overlaps out by one element now
  EXPECT_EQ(run(), FSK_ALIASING);
  reduce.elements = 64;
  for (const uint32_t sources : {0u, FSK_SOURCES_MAX + 1}) {
    reduce.sources = sources;
    EXPECT_EQ(run(), FSK_BAD_ARGUMENT);
  }
  reduce.sources = 2;
  EXPECT_EQ(fsk_reduce(&kCpu, FSK_FP32, static_cast<fsk_reduction>(2), &reduce, 1),
            FSK_BAD_ARGUMENT);
}

TEST_F(BadArguments, OfAnAccumulation) {
  alignas(64) std::array<uint8_t, 256> out_codes{};
  std::array<float, 2> out_scales{};
  fsk_accumulate_item accumulate{};
  accumulate.codes[0] = codes.data();
  accumulate.scales[0] = scales.data();
  accumulate.elements = 256;
  accumulate.sources = 1;
  const auto run = [&] { return fsk_accumulate(&kCpu, FSK_FP32, &quantiser, &accumulate, 1); };
  EXPECT_EQ(run(), FSK_BAD_ARGUMENT);  // no output
  accumulate.values = values.data();
  accumulate.base = values.data();
  EXPECT_EQ(run(), FSK_OK);
  accumulate.out_codes = out_codes.data();
  EXPECT_EQ(run(), FSK_BAD_ARGUMENT);  // no scales to it
  accumulate.out_scales = out_scales.data();
  EXPECT_EQ(run(), FSK_OK);
  accumulate.out_codes = codes.data();  // in place, but for the scales
  EXPECT_EQ(run(), FSK_ALIASING);
  accumulate.out_scales = scales.data();
  EXPECT_EQ(run(), FSK_OK);
}

// Nothing to do is done, whatever the pointers are.
TEST(Abi, TakesItemsOfNoLength) {
  const fsk_quantiser how{FSK_INT8, FSK_STOCHASTIC, 1};
  const fsk_parity_code code{FSK_RS, 4, 0, 2};
  alignas(FSK_WORKSPACE_ALIGNMENT) static std::array<uint8_t, 1 << 16> workspace;
  ASSERT_LE(fsk_parity_workspace(FSK_CPU, &code, 1), workspace.size());
  fsk_exec exec = kCpu;
  exec.workspace = workspace.data();
  exec.workspace_bytes = workspace.size();
  const fsk_quantise_item quantise{};
  const fsk_dequantise_item dequantise{};
  fsk_accumulate_item accumulate{};
  accumulate.sources = 1;
  fsk_reduce_item reduce{};
  reduce.sources = 1;
  const fsk_stripe stripe{};
  const fsk_packets packets{};
  for (const size_t count : {0, 1}) {
    EXPECT_EQ(fsk_quantise(&exec, FSK_BF16, &how, &quantise, count), FSK_OK);
    EXPECT_EQ(fsk_dequantise(&exec, FSK_BF16, FSK_INT8, &dequantise, count), FSK_OK);
    EXPECT_EQ(fsk_accumulate(&exec, FSK_BF16, &how, &accumulate, count), FSK_OK);
    EXPECT_EQ(fsk_reduce(&exec, FSK_FP16, FSK_SUM, &reduce, count), FSK_OK);
    EXPECT_EQ(fsk_parity_encode(&exec, &code, &stripe, count), FSK_OK);
    EXPECT_EQ(fsk_parity_decode(&exec, &code, &stripe, count), FSK_OK);
    EXPECT_EQ(fsk_crc32c(&exec, &packets, count), FSK_OK);
  }
}

// RFC 3720, appendix B.4.
TEST(Crc32c, HasPublishedValues) {
  std::array<uint8_t, 32> zeros{};
  std::array<uint8_t, 32> ones{};
  std::array<uint8_t, 32> up{};
  ones.fill(0xff);
  for (uint8_t i = 0; i < 32; ++i) up[i] = i;
  const std::string digits = "123456789";
  for (const auto crc : {Crc32c, Crc32cByTables}) {
    EXPECT_EQ(crc(zeros.data(), 32), 0x8a9136aau);
    EXPECT_EQ(crc(ones.data(), 32), 0x62a8ab43u);
    EXPECT_EQ(crc(up.data(), 32), 0x46dd794eu);
    EXPECT_EQ(crc(reinterpret_cast<const uint8_t*>(digits.data()), 9), 0xe3069283u);
    EXPECT_EQ(crc(nullptr, 0), 0u);
  }
}

uint32_t BitwiseCrc(const uint8_t* data, size_t bytes) {
  uint32_t crc = 0xffffffff;
  for (size_t i = 0; i < bytes; ++i) {
    crc ^= data[i];
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
  }
  return ~crc;
}

TEST(Crc32c, ServesBatchesOfPacketsAtAnyPlace) {
  std::mt19937 engine(4);
  std::vector<uint8_t> data(40'000);
  for (uint8_t& byte : data) byte = static_cast<uint8_t>(engine());
  for (const uint32_t packet : {1u, 3u, 4u, 63u, 1000u, 4096u}) {
    for (const uint32_t displacement : {0u, 1u, 5u}) {
      std::array<uint32_t, 6> crcs{};
      const fsk_packets items[] = {
          {data.data() + displacement, packet + 13, packet, packet / 2, 4, crcs.data()},
          {data.data() + 30'000 + displacement, packet, packet, packet, 2, crcs.data() + 4}};
      ASSERT_EQ(fsk_crc32c(&kCpu, items, 2), FSK_OK);
      for (size_t i = 0; i < 6; ++i) {
        const uint8_t* at =
            i < 4 ? items[0].data + i * (packet + 13) : items[1].data + (i - 4) * packet;
        EXPECT_EQ(crcs[i], BitwiseCrc(at, i == 3 ? packet / 2 : packet));
      }
    }
  }
}

TEST(Crc32c, RefusesBadBatches) {
  std::array<uint8_t, 64> data{};
  std::array<uint32_t, 4> crcs{};
  const auto run = [](const fsk_packets& item) { return fsk_crc32c(&kCpu, &item, 1); };
  EXPECT_EQ(run({data.data(), 16, 16, 16, 4, crcs.data()}), FSK_OK);
  EXPECT_EQ(run({data.data(), 15, 16, 16, 4, crcs.data()}), FSK_BAD_ARGUMENT);
  EXPECT_EQ(run({data.data(), 16, 16, 17, 4, crcs.data()}), FSK_BAD_ARGUMENT);
  EXPECT_EQ(run({nullptr, 16, 16, 16, 4, crcs.data()}), FSK_BAD_ARGUMENT);
  EXPECT_EQ(run({reinterpret_cast<uint8_t*>(crcs.data()), 4, 4, 4, 4, crcs.data()}), FSK_ALIASING);
  EXPECT_EQ(run({nullptr, 0, 0, 0, 4, crcs.data()}), FSK_OK);
}

// The arithmetic that GPU threads sum their parts with: words in any split, with zeros in front.
TEST(CrcArithmetic, IsTheCrc) {
  std::mt19937 engine(7);
  for (const size_t words : {1, 2, 31, 128, 129}) {
    std::vector<uint32_t> message(words);
    for (uint32_t& w : message) w = static_cast<uint32_t>(engine());
    uint32_t sum = CrcProduct(0xffffffff, CrcPower(32 * words));
    for (size_t i = 0; i < words; ++i) sum ^= CrcProduct(message[i], CrcPower(32 * (words - i)));
    EXPECT_EQ(~sum, Crc32c(reinterpret_cast<const uint8_t*>(message.data()),
                           static_cast<uint32_t>(4 * words)));
  }
  const CrcTables tables(CrcPower(4096));
  for (int i = 0; i < 100; ++i) {
    const auto a = static_cast<uint32_t>(engine());
    EXPECT_EQ(CrcTimes(tables, a), CrcProduct(a, CrcPower(4096)));
  }
}

}  // namespace
}  // namespace farspan::kernels::testing
