#include "transports/core/wire.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace farspan::transport {
namespace {

using Bytes = std::vector<uint8_t>;

Bytes Encode(const Header& header) {
  Bytes bytes(HeaderBytes(header));
  EXPECT_EQ(EncodeHeader(header, bytes), bytes.size());
  SealCrc(bytes, {});
  return bytes;
}

Header Ack() {
  Header ack{.type = PacketType::kAck, .path = 3, .message = 9, .connection = 0x1122334455667788};
  ack.index = 0x123456;
  ack.high = 500;
  ack.low = 7;
  ack.delay_ns = 99;
  ack.ecn_marked = 4;
  ack.credits = 65'535;
  ack.newest = true;
  ack.gap_count = 2;
  ack.gaps[0] = {10, 3};
  ack.gaps[1] = {400, 1};
  return ack;
}

std::vector<Header> OneOfEach() {
  std::vector<Header> all;
  all.push_back({.type = PacketType::kHello,
                 .connection = 5,
                 .id = 6,
                 .cookie = 7,
                 .cookie_time = 8,
                 .payload_bytes = 4096,
                 .paths = 2,
                 .payload_crc = true,
                 .in_order = true,
                 .window = 1024,
                 .first_number = 77});
  all.push_back({.type = PacketType::kRetry, .connection = 6, .cookie = 7, .cookie_time = 8});
  all.push_back({.type = PacketType::kAccept,
                 .connection = 6,
                 .id = 9,
                 .payload_bytes = 4096,
                 .paths = 2,
                 .payload_crc = true,
                 .window = 1024});
  all.push_back({.type = PacketType::kRefuse, .connection = 6, .reason = Reason::kFull});
  all.push_back({.type = PacketType::kData,
                 .path = 1,
                 .message = 2,
                 .connection = 9,
                 .number = 3,
                 .index = 0xfffffe,
                 .message_bytes = kMaxMessageBytes,
                 .tag = 0xdeadbeef});
  all.push_back({.type = PacketType::kParity,
                 .connection = 9,
                 .index = 128,
                 .message_bytes = 1'000'000,
                 .tag = 1,
                 .block_data = 128,
                 .row = 5,
                 .stride = 4});
  all.push_back(Ack());
  all.push_back(
      {.type = PacketType::kPing, .connection = 9, .high = 14, .low = 12, .rtt_ns = 25'000'000});
  all.push_back({.type = PacketType::kPong, .connection = 9});
  all.push_back({.type = PacketType::kClose, .connection = 9, .reason = Reason::kTooLong});
  all.push_back({.type = PacketType::kClosed, .connection = 9});
  return all;
}

TEST(Wire, EveryTypeSurvivesTheJourney) {
  for (const Header& header : OneOfEach()) {
    const Bytes bytes = Encode(header);
    Header back;
    uint32_t size = 0;
    ASSERT_EQ(ParseHeader(bytes, back, size), Drop::kNone);
    EXPECT_EQ(size, bytes.size());
    EXPECT_EQ(Encode(back), bytes) << static_cast<int>(header.type);
    EXPECT_TRUE(CrcHolds(bytes, {}));
  }
}

TEST(Wire, SizesAreThoseOfThePage) {
  EXPECT_EQ(HeaderBytes({.type = PacketType::kData}), 32u);
  EXPECT_EQ(HeaderBytes({.type = PacketType::kParity}), kMaxHeaderBytes);
  EXPECT_EQ(HeaderBytes({.type = PacketType::kHello}), kHelloBytes);
  for (const PacketType answer : {PacketType::kRetry, PacketType::kAccept, PacketType::kRefuse}) {
    EXPECT_LE(HeaderBytes({.type = answer}), kHelloBytes);
  }
}

TEST(Wire, DataIsLaidOutAsThePageSays) {
  const Bytes bytes = Encode(OneOfEach()[4]);
  const Bytes start{0x15, 1,    2,    0,    9,    0,    0,    0,    0,    0,
                    0,    0,    3,    0,    0,    0,    0xfe, 0xff, 0xff, 0xff,
                    0xff, 0xff, 0xff, 0xff, 0xef, 0xbe, 0xad, 0xde};
  EXPECT_TRUE(std::equal(start.begin(), start.end(), bytes.begin()));
}

// CRC32C of "123456789" is e3069283 (RFC 3720): 9 octets of header and the checksum behind them.
TEST(Wire, TheChecksumIsCrc32c) {
  Bytes bytes{'1', '2', '3', '4', '5', '6', '7', '8', '9', 0, 0, 0, 0};
  SealCrc(bytes, {});
  EXPECT_EQ(Bytes(bytes.begin() + 9, bytes.end()), (Bytes{0x83, 0x92, 0x06, 0xe3}));
  Bytes head{'1', '2', '3', 0, 0, 0, 0};
  const Bytes tail{'4', '5', '6', '7', '8', '9'};
  SealCrc(head, tail);
  EXPECT_EQ(Bytes(head.begin() + 3, head.end()), (Bytes{0x83, 0x92, 0x06, 0xe3}));
}

TEST(Wire, EveryTruncationAndEveryFlippedBitIsSeen) {
  for (const Header& header : OneOfEach()) {
    const Bytes bytes = Encode(header);
    Header back;
    uint32_t size = 0;
    for (size_t length = 0; length < bytes.size(); ++length) {
      EXPECT_NE(ParseHeader(std::span(bytes).first(length), back, size), Drop::kNone);
    }
    for (size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
      Bytes damaged = bytes;
      damaged[bit / 8] ^= static_cast<uint8_t>(1u << bit % 8);
      EXPECT_TRUE(ParseHeader(damaged, back, size) != Drop::kNone ||
                  !CrcHolds(std::span(damaged).first(size), std::span(damaged).subspan(size)));
    }
  }
}

TEST(Wire, ForeignDatagramsHaveTheirCause) {
  Bytes bytes = Encode(OneOfEach()[4]);
  Header back;
  uint32_t size = 0;
  bytes[0] = 0x25;
  EXPECT_EQ(ParseHeader(bytes, back, size), Drop::kVersion);
  bytes[0] = 0x10;
  EXPECT_EQ(ParseHeader(bytes, back, size), Drop::kType);
  bytes[0] = 0x1c;
  EXPECT_EQ(ParseHeader(bytes, back, size), Drop::kType);
  EXPECT_EQ(ParseHeader(std::span(bytes).first(15), back, size), Drop::kTruncated);
  Header ack = Ack();
  bytes = Encode(ack);
  bytes[19] = kMaxGaps + 1;
  bytes.resize(512);
  EXPECT_EQ(ParseHeader(bytes, back, size), Drop::kMalformed);
}

TEST(Wire, NumbersExpandToTheNearest) {
  EXPECT_EQ(Expand(0, 16, 65'535), 65'536u);
  EXPECT_EQ(Expand(65'535, 16, 65'536), 65'535u);
  EXPECT_EQ(Expand(65'535, 16, 0), 65'535u);  // never below 0
  for (const uint64_t expected : {uint64_t{0}, uint64_t{70'000}, uint64_t{1} << 40}) {
    for (int64_t off = -30'000; off <= 30'000; off += 7) {
      if (off < 0 && expected < static_cast<uint64_t>(-off)) continue;
      const uint64_t number = expected + static_cast<uint64_t>(off);
      EXPECT_EQ(Expand(number & 0xffff, 16, expected), number);
    }
  }
}

TEST(Wire, TheMacCoversHeaderPayloadNumberAndKey) {
  const Bytes header{1, 2, 3}, payload{4, 5};
  const MacKey key{{1}};
  const uint64_t mac = Mac(key, header, payload, 0);
  EXPECT_EQ(Mac(key, header, payload, 0), mac);
  EXPECT_NE(Mac(key, Bytes{1, 2, 4}, payload, 0), mac);
  EXPECT_NE(Mac(key, header, Bytes{4, 6}, 0), mac);
  EXPECT_NE(Mac(key, header, payload, 1), mac);
  EXPECT_NE(Mac(MacKey{{2}}, header, payload, 0), mac);
}

}  // namespace
}  // namespace farspan::transport
