#include "emulator/roce/pause_frame.h"

#include <algorithm>

#include "emulator/roce/frame_view.h"

namespace farspan::roce {
namespace {

constexpr MacAddress kControlAddress{0x01, 0x80, 0xc2, 0x00, 0x00, 0x01};
constexpr uint16_t kOpcodePause = 0x0001;
constexpr uint16_t kOpcodePfc = 0x0101;
constexpr size_t kOpcodeOffset = kEthernetHeaderBytes;
constexpr size_t kVectorOffset = kOpcodeOffset + 2;
constexpr size_t kQuantaOffset = kVectorOffset + 2;

void StoreBe16(uint8_t* to, uint16_t value) {
  to[0] = static_cast<uint8_t>(value >> 8);
  to[1] = static_cast<uint8_t>(value);
}

}  // namespace

std::array<uint8_t, kPauseFrameBytes> EncodePfc(const link::PfcFrame& frame,
                                                const MacAddress& source) {
  std::array<uint8_t, kPauseFrameBytes> bytes{};
  std::copy(kControlAddress.begin(), kControlAddress.end(), bytes.begin());
  std::copy(source.begin(), source.end(), bytes.begin() + kControlAddress.size());
  StoreBe16(&bytes[12], kEtherMacControl);
  StoreBe16(&bytes[kOpcodeOffset], kOpcodePfc);
  StoreBe16(&bytes[kVectorOffset], frame.enabled);
  for (size_t p = 0; p < frame.quanta.size(); ++p) {
    StoreBe16(&bytes[kQuantaOffset + 2 * p], frame.quanta[p]);
  }
  return bytes;
}

std::optional<link::PfcFrame> ParsePause(std::span<const uint8_t> bytes) {
  using internal::LoadBe16;
  if (!IsMacControl(bytes) || bytes.size() < kVectorOffset + 2) return std::nullopt;
  const uint16_t opcode = LoadBe16(&bytes[kOpcodeOffset]);
  link::PfcFrame frame;
  if (opcode == kOpcodePause) {
    frame.enabled = 0xff;
    frame.quanta.fill(LoadBe16(&bytes[kVectorOffset]));
    return frame;
  }
  if (opcode != kOpcodePfc || bytes.size() < kQuantaOffset + 2 * frame.quanta.size()) {
    return std::nullopt;
  }
  frame.enabled = static_cast<uint8_t>(LoadBe16(&bytes[kVectorOffset]));
  for (size_t p = 0; p < frame.quanta.size(); ++p) {
    frame.quanta[p] = LoadBe16(&bytes[kQuantaOffset + 2 * p]);
  }
  return frame;
}

}  // namespace farspan::roce
