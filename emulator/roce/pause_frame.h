// MAC control frames of flow control, as octets: PFC (IEEE 802.3 Annex 31D) and PAUSE (31B).
//
//   01:80:C2:00:00:01 | source | 88-08 | opcode | PFC 01-01: class-enable vector, 8 x quanta
//                                               | PAUSE 00-01: quanta
// padded with zeros to 60 octets; the FCS is the port's. Quanta are big-endian, 512 bit times each.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>

#include "emulator/link/pfc.h"

namespace farspan::roce {

inline constexpr uint16_t kEtherMacControl = 0x8808;
inline constexpr size_t kPauseFrameBytes = 60;  // without FCS

using MacAddress = std::array<uint8_t, 6>;

std::array<uint8_t, kPauseFrameBytes> EncodePfc(const link::PfcFrame& frame,
                                                const MacAddress& source);

// Whether a bridge must keep it to itself: any MAC control frame.
constexpr bool IsMacControl(std::span<const uint8_t> bytes) {
  return bytes.size() >= 14 && bytes[12] == kEtherMacControl >> 8 &&
         bytes[13] == (kEtherMacControl & 0xff);
}
// What it says; PAUSE names all priorities. nullopt for what is neither, or cut short.
std::optional<link::PfcFrame> ParsePause(std::span<const uint8_t> bytes);

}  // namespace farspan::roce
