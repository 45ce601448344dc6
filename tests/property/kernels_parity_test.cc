// Erasure codes on the CPU: decode ∘ encode is the identity for every pattern of small codes and
// for a large sample of all codes, ISA-L makes the same bytes, and a Vandermonde matrix must fail.
#include <gtest/gtest.h>
#include <isa-l/erasure_code.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <numeric>
#include <random>
#include <vector>

#include "kernels/math/galois.h"
#include "tests/support/kernels_support.h"

namespace farspan::kernels::testing {
namespace {

// A stripe with its memory, tight or interleaved, at odd places.
class Stripe {
 public:
  Stripe(const fsk_parity_code& code, uint64_t symbol_bytes, std::mt19937& engine,
         uint32_t data_symbols = 0, uint64_t last_bytes = 0, uint64_t gap = 0)
      : code_(code),
        data_((code.k + 1) * (symbol_bytes + gap)),
        parity_(code.m * (symbol_bytes + gap)) {
    for (uint8_t& byte : data_) byte = static_cast<uint8_t>(engine());
    for (uint8_t& byte : parity_) byte = static_cast<uint8_t>(engine());
    view_.data = data_.data() + gap / 2;
    view_.parity = parity_.data() + gap / 2;
    view_.data_stride = view_.parity_stride = symbol_bytes + gap;
    view_.symbol_bytes = symbol_bytes;
    view_.data_symbols = data_symbols ? data_symbols : code.k;
    view_.last_bytes = last_bytes ? last_bytes : symbol_bytes;
    workspace_bytes_ = fsk_parity_workspace(FSK_CPU, &code, 1);
    workspace_.resize(workspace_bytes_ + FSK_WORKSPACE_ALIGNMENT);
  }

  fsk_stripe& view() { return view_; }
  std::vector<uint8_t>& data() { return data_; }
  std::vector<uint8_t>& parity() { return parity_; }

  fsk_status encode() { return run(fsk_parity_encode); }
  fsk_status decode() { return run(fsk_parity_decode); }

  // Marks symbols as lost and spoils their bytes.
  void lose(const std::vector<uint32_t>& symbols) {
    std::fill(std::begin(view_.lost), std::end(view_.lost), 0u);
    for (const uint32_t s : symbols) {
      view_.lost[s / 32] |= 1u << s % 32;
      uint8_t* at = s < code_.k ? view_.data + s * view_.data_stride
                                : view_.parity + (s - code_.k) * view_.parity_stride;
      std::memset(at, 0xa5, s == view_.data_symbols - 1 ? view_.last_bytes : view_.symbol_bytes);
    }
  }

 private:
  template <typename Function>
  fsk_status run(Function function) {
    void* aligned = workspace_.data();
    size_t room = workspace_.size();
    std::align(FSK_WORKSPACE_ALIGNMENT, workspace_bytes_, aligned, room);
    const fsk_exec exec = {FSK_ABI_VERSION, FSK_CPU, nullptr, 0, aligned, workspace_bytes_};
    return function(&exec, &code_, &view_, 1);
  }

  fsk_parity_code code_;
  std::vector<uint8_t> data_;
  std::vector<uint8_t> parity_;
  fsk_stripe view_{};
  size_t workspace_bytes_;
  std::vector<uint8_t> workspace_;
};

bool Survives(Stripe& stripe, const std::vector<uint8_t>& data, const std::vector<uint8_t>& parity,
              const std::vector<uint32_t>& lost) {
  stripe.data() = data;
  stripe.parity() = parity;
  stripe.lose(lost);
  return stripe.decode() == FSK_OK && stripe.data() == data;
}

TEST(ReedSolomon, RecoversFromEveryPatternOfSmallCodes) {
  std::mt19937 engine(1);
  for (uint32_t k = 1; k <= 8; ++k) {
    for (uint32_t m = 1; m <= 4; ++m) {
      Stripe stripe({FSK_RS, k, k % 3, m}, 2, engine);
      ASSERT_EQ(stripe.encode(), FSK_OK);
      const std::vector<uint8_t> data = stripe.data();
      const std::vector<uint8_t> parity = stripe.parity();
      for (uint32_t pattern = 0; pattern < 1u << (k + m); ++pattern) {
        std::vector<uint32_t> lost;
        for (uint32_t s = 0; s < k + m; ++s) {
          if (pattern >> s & 1) lost.push_back(s);
        }
        const auto lost_data = static_cast<uint32_t>(std::popcount(pattern & ((1u << k) - 1)));
        if (lost.size() <= m || lost_data == 0) {
          ASSERT_TRUE(Survives(stripe, data, parity, lost)) << k << ' ' << m << ' ' << pattern;
        } else {
          stripe.lose(lost);
          ASSERT_EQ(stripe.decode(), FSK_UNRECOVERABLE) << k << ' ' << m << ' ' << pattern;
        }
      }
    }
  }
}

// 120,000 patterns: as many losses as a code bears, and in every fourth stripe fewer; of symbols of
// one or two bytes, and in every fourth of such a length that ISA-L's vector code and its tail have
// their share.
TEST(ReedSolomon, RecoversFromASampleOfAllCodes) {
  std::mt19937 engine(2);
  constexpr fsk_parity_code kLarge[] = {
      {FSK_RS, 32, 0, 8}, {FSK_RS, 128, 0, 10}, {FSK_RS, 128, 0, 32}, {FSK_RS, 20, 5, 4}};
  for (uint32_t round = 0; round < 1200; ++round) {
    fsk_parity_code code = kLarge[round % 4];
    if (round >= 800) {  // every k and m has its turn
      code = {FSK_RS, 1 + static_cast<uint32_t>(engine() % 128), 0,
              1 + static_cast<uint32_t>(engine() % 32)};
      code.first = static_cast<uint32_t>(engine() % (33 - code.m));
    }
    const uint32_t turn = round / 4 % 4;
    Stripe stripe(code, turn == 0 ? 64 + engine() % 100 : 1 + turn % 2, engine);
    ASSERT_EQ(stripe.encode(), FSK_OK);
    const std::vector<uint8_t> data = stripe.data();
    const std::vector<uint8_t> parity = stripe.parity();
    std::vector<uint32_t> symbols(code.k + code.m);
    std::iota(symbols.begin(), symbols.end(), 0u);
    for (int pattern = 0; pattern < 100; ++pattern) {
      const uint32_t losses = turn == 1 ? 1 + static_cast<uint32_t>(engine() % code.m) : code.m;
      for (uint32_t i = 0; i < losses; ++i) {
        std::swap(symbols[i], symbols[i + engine() % (symbols.size() - i)]);
      }
      const std::vector<uint32_t> lost(symbols.begin(), symbols.begin() + losses);
      ASSERT_TRUE(Survives(stripe, data, parity, lost)) << code.k << ' ' << code.m;
    }
  }
}

// Short messages, odd symbols, interleaved strides: the tail is left alone.
TEST(ReedSolomon, KeepsToTheMessage) {
  std::mt19937 engine(3);
  for (const fsk_parity_kind kind : {FSK_RS, FSK_XOR}) {
    for (uint32_t round = 0; round < 400; ++round) {
      fsk_parity_code code{kind, 2 + static_cast<uint32_t>(engine() % 12), 0, 2};
      const uint64_t bytes = round % 8 == 0 ? 9001 : 1 + engine() % 300;
      const uint32_t symbols = 1 + static_cast<uint32_t>(engine() % code.k);
      const uint64_t last = 1 + engine() % bytes;
      Stripe stripe(code, bytes, engine, symbols, last, round % 5 * 3);
      const std::vector<uint8_t> before = stripe.data();
      ASSERT_EQ(stripe.encode(), FSK_OK);
      ASSERT_EQ(stripe.data(), before);
      const std::vector<uint8_t> parity = stripe.parity();
      ASSERT_TRUE(Survives(stripe, before, parity, {symbols - 1})) << symbols << ' ' << last;
      if (kind == FSK_RS && symbols > 1) {
        ASSERT_TRUE(Survives(stripe, before, parity, {0, symbols - 1}));
      }
      if (kind == FSK_RS) {
        ASSERT_TRUE(Survives(stripe, before, parity, {0, code.k}));
      }
    }
  }
}

TEST(ReedSolomon, MakesIsaLsBytes) {
  std::mt19937 engine(4);
  for (const auto& [k, m] : {std::pair{32u, 8u}, {128u, 10u}, {128u, 32u}, {1u, 1u}, {5u, 3u}}) {
    constexpr uint64_t kBytes = 777;
    Stripe stripe({FSK_RS, k, 0, m}, kBytes, engine);
    ASSERT_EQ(stripe.encode(), FSK_OK);
    std::vector<uint8_t> matrix((k + m) * k);
    gf_gen_cauchy1_matrix(matrix.data(), static_cast<int>(k + m), static_cast<int>(k));
    for (uint32_t r = 0; r < m; ++r) {
      for (uint64_t b = 0; b < kBytes; b += 97) {
        uint8_t sum = 0;
        for (uint32_t i = 0; i < k; ++i) {
          sum ^= gf_mul(matrix[(k + r) * k + i], stripe.data()[i * kBytes + b]);
        }
        ASSERT_EQ(stripe.parity()[r * kBytes + b], sum);
      }
    }
    std::vector<uint8_t> ours(m * k);
    const fsk_parity_code code{FSK_RS, k, 0, m};
    ASSERT_EQ(fsk_parity_matrix(&code, ours.data()), FSK_OK);
    EXPECT_TRUE(std::equal(ours.begin(), ours.end(), matrix.begin() + k * k));
  }
}

TEST(Galois, IsIsaLsField) {
  constexpr Galois kField;
  for (uint32_t a = 0; a < 256; ++a) {
    EXPECT_EQ(GaloisTwice(a), gf_mul(static_cast<uint8_t>(a), 2));
    for (uint32_t b = 0; b < 256; ++b) {
      ASSERT_EQ(GaloisProduct(kField, a, b),
                gf_mul(static_cast<uint8_t>(a), static_cast<uint8_t>(b)));
    }
  }
}

// Later rows of the same code: what a receiver that lost too much asks for.
TEST(ReedSolomon, MakesMoreParityLater) {
  std::mt19937 engine(5);
  Stripe all({FSK_RS, 16, 0, 8}, 64, engine);
  ASSERT_EQ(all.encode(), FSK_OK);
  Stripe late({FSK_RS, 16, 5, 3}, 64, engine);
  late.data() = all.data();
  ASSERT_EQ(late.encode(), FSK_OK);
  EXPECT_TRUE(
      std::equal(late.parity().begin(), late.parity().end(), all.parity().begin() + 5 * 64));
}

// Which of a sample of loss patterns leaves a matrix (of all k + m rows) that cannot be inverted.
int Singular(void (*generate)(unsigned char*, int, int), int k, int m) {
  std::mt19937 engine(6);
  std::vector<uint8_t> matrix(static_cast<size_t>((k + m) * k));
  generate(matrix.data(), k + m, k);
  int singular = 0;
  std::vector<int> rows(static_cast<size_t>(k + m));
  for (int pattern = 0; pattern < 3000; ++pattern) {
    std::iota(rows.begin(), rows.end(), 0);
    std::shuffle(rows.begin(), rows.end(), engine);
    std::vector<uint8_t> left;
    for (int i = 0; i < k; ++i) {
      const uint8_t* row = matrix.data() + rows[static_cast<size_t>(i)] * k;
      left.insert(left.end(), row, row + k);
    }
    std::vector<uint8_t> inverse(left.size());
    singular += gf_invert_matrix(left.data(), inverse.data(), k) != 0;
  }
  return singular;
}

TEST(ReedSolomon, IsMdsAndTheVandermondeTwinIsNot) {
  EXPECT_EQ(Singular(gf_gen_cauchy1_matrix, 24, 8), 0);
  EXPECT_GT(Singular(gf_gen_rs_matrix, 24, 8), 0);
}

TEST(Xor, RecoversOneLossPerSet) {
  std::mt19937 engine(7);
  for (uint32_t k = 1; k <= 9; ++k) {
    for (uint32_t m = 1; m <= std::min(k, 4u); ++m) {
      Stripe stripe({FSK_XOR, k, 0, m}, 1 + engine() % 600, engine);
      ASSERT_EQ(stripe.encode(), FSK_OK);
      const std::vector<uint8_t> data = stripe.data();
      const std::vector<uint8_t> parity = stripe.parity();
      for (uint32_t pattern = 0; pattern < 1u << (k + m); ++pattern) {
        std::vector<uint32_t> lost;
        uint32_t per_set[4] = {};
        uint32_t data_per_set[4] = {};
        for (uint32_t s = 0; s < k + m; ++s) {
          if (!(pattern >> s & 1)) continue;
          lost.push_back(s);
          ++per_set[s < k ? s % m : s - k];
          data_per_set[s % m] += s < k;
        }
        bool possible = true;
        for (uint32_t set = 0; set < m; ++set) {
          possible = possible && (per_set[set] <= 1 || data_per_set[set] == 0);
        }
        if (possible) {
          ASSERT_TRUE(Survives(stripe, data, parity, lost)) << k << ' ' << m << ' ' << pattern;
        } else {
          stripe.lose(lost);
          ASSERT_EQ(stripe.decode(), FSK_UNRECOVERABLE) << k << ' ' << m << ' ' << pattern;
        }
      }
    }
  }
}

TEST(Parity, RefusesBadArguments) {
  std::mt19937 engine(8);
  EXPECT_EQ(Stripe({FSK_RS, 4, 0, 2}, 16, engine).encode(), FSK_OK);
  for (const fsk_parity_code& code : {fsk_parity_code{FSK_RS, 0, 0, 1},
                                      {FSK_RS, 129, 0, 1},
                                      {FSK_RS, 4, 0, 0},
                                      {FSK_RS, 4, 0, 33},
                                      {FSK_RS, 4, 31, 2},
                                      {FSK_XOR, 4, 1, 1},
                                      {FSK_XOR, 4, 0, 5}}) {
    EXPECT_EQ(fsk_parity_encode(&kCpu, &code, nullptr, 0), FSK_BAD_ARGUMENT);
  }
  const auto spoiled = [&](auto spoil) {
    Stripe stripe({FSK_RS, 4, 0, 2}, 16, engine);
    spoil(stripe.view());
    return stripe.decode();
  };
  EXPECT_EQ(spoiled([](fsk_stripe& s) { s.data_stride = 15; }), FSK_BAD_ARGUMENT);
  EXPECT_EQ(spoiled([](fsk_stripe& s) { s.last_bytes = 17; }), FSK_BAD_ARGUMENT);
  EXPECT_EQ(spoiled([](fsk_stripe& s) { s.data_symbols = 5; }), FSK_BAD_ARGUMENT);
  EXPECT_EQ(spoiled([](fsk_stripe& s) { s.lost[0] = 1u << 6; }), FSK_BAD_ARGUMENT);
  EXPECT_EQ(spoiled([](fsk_stripe& s) { s.parity = s.data + 63; }), FSK_ALIASING);
  EXPECT_EQ(spoiled([](fsk_stripe& s) { s.parity = nullptr; }), FSK_BAD_ARGUMENT);
  const fsk_parity_code code{FSK_RS, 4, 0, 2};
  Stripe stripe(code, 16, engine);
  EXPECT_EQ(fsk_parity_encode(&kCpu, &code, &stripe.view(), 1), FSK_BAD_WORKSPACE);
}

}  // namespace
}  // namespace farspan::kernels::testing
