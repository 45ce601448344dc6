// Counter-based randomness: every draw is a pure function of (key, purpose, counter).
//
// Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC'11) from
// Random123. Nothing here has state, so a draw for wire time t or packet n is the same however the
// traffic was batched, whoever sent it, and in whatever order it is asked for: this is what lets
// two contenders meet the same bad moments. Distributions over these words are in distributions.h.
#pragma once

#include <Random123/philox.h>

#include <array>
#include <cstdint>
#include <string_view>

namespace farspan {

// What a stream of draws is for; part of the counter, so that no two uses share words.
enum class RandomPurpose : uint32_t {
  kStreamKey,
  kLoss,
  kLossState,
  kBer,
  kJitter,
  kDuplicate,
  kCorrupt,
  kAqm,
  kFault,
  kLaneSelection,
  kTest,
  kCongestion,
  kTransport,
};

struct StreamKey {
  uint64_t value = 0;
};

struct RandomWords {
  uint64_t lo = 0;
  uint64_t hi = 0;
};

inline RandomWords Draw(StreamKey key, RandomPurpose purpose, uint64_t counter, uint32_t lane = 0) {
  const r123::Philox4x32::ctr_type out = r123::Philox4x32{}(
      {{static_cast<uint32_t>(counter), static_cast<uint32_t>(counter >> 32),
        static_cast<uint32_t>(purpose), lane}},
      {{static_cast<uint32_t>(key.value), static_cast<uint32_t>(key.value >> 32)}});
  return {(static_cast<uint64_t>(out[1]) << 32) | out[0],
          (static_cast<uint64_t>(out[3]) << 32) | out[2]};
}

// FNV-1a over the link's name, then one Philox call: links, directions and seeds get unrelated
// keys.
inline StreamKey MakeStreamKey(uint64_t seed, std::string_view link, uint32_t direction) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (const char c : link) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return {Draw({seed}, RandomPurpose::kStreamKey, hash, direction).lo};
}

// Uniform on the open interval (0, 1), 53 bits: never 0 (log is safe), never 1.
constexpr double ToUnit(uint64_t word) {
  return (static_cast<double>(word >> 11) + 0.5) * 0x1.0p-53;
}

}  // namespace farspan
