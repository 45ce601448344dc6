// Any bytes as a datagram: what parses is written back as it was, and a bad checksum is seen.
#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "emulator/base/check.h"
#include "transports/core/wire.h"

using namespace farspan::transport;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::span<const uint8_t> input(data, size);
  Header header;
  uint32_t bytes = 0;
  if (ParseHeader(input, header, bytes) != Drop::kNone) return 0;
  FARSPAN_CHECK(bytes <= size && bytes == HeaderBytes(header));
  std::array<uint8_t, 512> again{};
  FARSPAN_CHECK(EncodeHeader(header, again) == bytes);
  // But for padding and the checksum.
  const size_t padding = header.type == PacketType::kHello ? 48 : bytes - 4;
  for (size_t i = 0; i < padding; ++i) {
    const bool reserved = header.type == PacketType::kParity && i == 31;
    FARSPAN_CHECK(reserved || again[i] == input[i]);
  }
  const auto sealed = std::span(again).first(bytes);
  const auto payload = input.subspan(bytes);
  SealCrc(sealed, payload);
  FARSPAN_CHECK(CrcHolds(sealed, payload));
  again[size % bytes] ^= static_cast<uint8_t>(1u << size % 8);
  FARSPAN_CHECK(!CrcHolds(sealed, payload));
  return 0;
}
