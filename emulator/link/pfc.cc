#include "emulator/link/pfc.h"

#include <algorithm>

#include "emulator/base/check.h"
#include "emulator/base/int128.h"
#include "emulator/link/path.h"

namespace farspan::link {
namespace {

constexpr uint64_t kQuantumBits = 512;

struct Reaction {
  Rate rate;
  uint32_t quanta;
};
constexpr Reaction kReactions[] = {{{1'000'000'000}, 2},     {{10'000'000'000}, 60},
                                   {{25'000'000'000}, 80},   {{40'000'000'000}, 118},
                                   {{100'000'000'000}, 394}, {{400'000'000'000}, 905}};

// Rounded up.
uint64_t BytesIn(TimeNs time, Rate rate) {
  constexpr Uint128 kUnit = 8'000'000'000u;
  return static_cast<uint64_t>((static_cast<Uint128>(time.ns) * rate.bits_per_s + (kUnit - 1)) /
                               kUnit);
}

TimeNs QuantaTimeUp(uint32_t quanta, Rate rate) {
  const auto bit_ns = static_cast<Uint128>(quanta) * kQuantumBits * 1'000'000'000u;
  return {static_cast<int64_t>((bit_ns + (rate.bits_per_s - 1)) / rate.bits_per_s)};
}

}  // namespace

TimeNs QuantaTime(uint32_t quanta, Rate line_rate) {
  const auto bit_ns = static_cast<Uint128>(quanta) * kQuantumBits * 1'000'000'000u;
  return {static_cast<int64_t>(bit_ns / line_rate.bits_per_s)};
}

TimeNs PfcReaction(Rate line_rate) {
  for (const Reaction& r : kReactions) {
    if (line_rate <= r.rate) return QuantaTimeUp(r.quanta, line_rate);
  }
  const Reaction& fastest = *std::prev(std::end(kReactions));
  return QuantaTimeUp(fastest.quanta, fastest.rate);
}

std::vector<HeadroomTerm> PfcHeadroomTerms(const PfcSpec& pfc) {
  FARSPAN_CHECK(pfc.line_rate.bits_per_s != 0);
  const TimeNs cable = OneWayDelay({.length = pfc.cable});
  return {{"the frame that reaches xoff", pfc.max_frame_bytes},
          {"engine's poll gap, " + ToText(pfc.poll_gap), BytesIn(pfc.poll_gap, pfc.line_rate)},
          {"a frame that the pause frame waits for", pfc.max_frame_bytes},
          {"the pause frame", kPauseWireBytes},
          {"cable there and back, 2 x " + ToText(pfc.cable), BytesIn(cable + cable, pfc.line_rate)},
          {"sender's reaction, " + ToText(pfc.reaction), BytesIn(pfc.reaction, pfc.line_rate)},
          {"a frame that the sender had begun", pfc.max_frame_bytes}};
}

uint64_t PfcHeadroom(const PfcSpec& pfc) {
  uint64_t sum = 0;
  for (const HeadroomTerm& term : PfcHeadroomTerms(pfc)) sum += term.bytes;
  return sum;
}

PfcPacer::PfcPacer(const std::array<uint16_t, kPfcPriorities>& quanta, Rate line_rate)
    : quanta_(quanta) {
  due_.fill(kNever);
  for (int p = 0; p < kPfcPriorities; ++p) {
    interval_[p] = {std::max<int64_t>(1, QuantaTime(quanta[p], line_rate).ns / 2)};
  }
}

void PfcPacer::want(TimeNs at, unsigned priority, bool pause) {
  if (wants(priority) == pause) return;
  const auto bit = static_cast<uint8_t>(1u << priority);
  wanted_ ^= bit;
  // A pause that is withdrawn before it was told needs no frame.
  due_[priority] = pause || (told_ & bit) != 0 ? at : kNever;
}

TimeNs PfcPacer::next_deadline() const { return *std::min_element(due_.begin(), due_.end()); }

PfcFrame PfcPacer::take(TimeNs now) {
  PfcFrame frame;
  for (unsigned p = 0; p < kPfcPriorities; ++p) {
    if (due_[p] > now) continue;
    frame.enabled |= static_cast<uint8_t>(1u << p);
    frame.quanta[p] = wants(p) ? quanta_[p] : uint16_t{0};
    due_[p] = wants(p) ? now + interval_[p] : kNever;
  }
  told_ = static_cast<uint8_t>((told_ & ~frame.enabled) | (wanted_ & frame.enabled));
  return frame;
}

}  // namespace farspan::link
