// What a server gives and keeps before a client has shown that it receives at its address: an
// answer shorter than the question, and nothing.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <vector>

#include "emulator/base/random.h"
#include "tests/support/count_allocations.h"
#include "transports/core/span.h"

namespace farspan::transport {
namespace {

using namespace farspan::literals;

constexpr uint32_t kRetryBytes = 16 + 12 + 4;  // common part, cookie and its time, checksum

Route From(uint64_t address) {
  Route route;
  std::memcpy(route.peer.bytes.data(), &address, sizeof address);
  route.peer.size = sizeof address;
  return route;
}

class SpanCookie : public testing::Test {
 protected:
  SpanCookie() {
    SpanConfig config;
    config.payload_bytes = 500;
    config.window_packets = 64;
    config.max_connections = 1;
    server_ = std::move(*Span::Create(config));
    (void)server_->listen(token_);
  }

  Header hello(uint64_t id) const {
    return {.type = PacketType::kHello,
            .connection = token_,
            .id = id,
            .payload_bytes = 500,
            .paths = 1,
            .window = 64,
            .first_number = 1};
  }

  // Hands over the first `bytes` of a HELLO; the answer, of type 0 where there is none.
  Header ask(TimeNs at, const Header& hello, const Route& from, size_t bytes = kHelloBytes) {
    std::array<uint8_t, kHelloBytes> text;
    EncodeHeader(hello, text);
    SealCrc(text, {});
    const RxView view{.at = at, .route = from, .bytes = std::span(text).first(bytes)};
    server_->on_datagrams(at, {&view, 1});
    const size_t answers = server_->poll_transmit(at, at, slots_);
    EXPECT_LE(answers, 1u);
    Header answer;
    for (const TxSlot& slot : std::span(slots_).first(answers)) {
      uint32_t size = 0;
      EXPECT_EQ(ParseHeader(std::span(slot.header).first(slot.bytes()), answer, size), Drop::kNone);
      EXPECT_EQ(slot.route, from);
      answered_ += slot.bytes();
    }
    return answer;
  }

  Header with_cookie(TimeNs at, uint64_t id, const Route& from) {
    Header asked = hello(id);
    const Header retry = ask(at, asked, from);
    EXPECT_EQ(retry.type, PacketType::kRetry);
    asked.cookie = retry.cookie;
    asked.cookie_time = retry.cookie_time;
    return asked;
  }

  std::unique_ptr<Span> server_;
  std::array<TxSlot, 2> slots_;
  uint64_t token_ = 0;
  uint64_t answered_ = 0;  // bytes
};

TEST_F(SpanCookie, ForgedHellosGetLessThanTheySendAndLeaveNothing) {
  constexpr uint64_t kHellos = 10'000;
  const uint64_t before = allocations;
  for (uint64_t i = 0; i < kHellos; ++i) {
    Header forged = hello(Draw({1}, RandomPurpose::kTest, 2 * i).lo);
    if (i % 2 != 0) forged.cookie = Draw({1}, RandomPurpose::kTest, 2 * i + 1).lo;
    forged.cookie_time = static_cast<uint32_t>(i);
    ASSERT_EQ(ask(TimeNs{static_cast<int64_t>(i) * 1'000}, forged, From(i)).type,
              PacketType::kRetry);
  }
  EXPECT_EQ(answered_, kHellos * kRetryBytes);
  EXPECT_LE(answered_, 3 * kHellos * kHelloBytes);
  EXPECT_EQ(allocations, before);
  EXPECT_EQ(server_->next_deadline(), kNever);
  // The one place is still free; and the twin, that one HELLO can take it.
  EXPECT_EQ(ask(1_s, with_cookie(1_s, 7, From(1)), From(1)).type, PacketType::kAccept);
  EXPECT_GT(allocations, before);
  EXPECT_EQ(ask(1_s, with_cookie(1_s, 8, From(2)), From(2)).type, PacketType::kRefuse);
}

TEST_F(SpanCookie, AShorterQuestionGetsNoAnswer) {
  EXPECT_EQ(ask({}, hello(7), From(1), kHelloBytes - 1).type, PacketType{});
  Header stale = hello(7);
  stale.connection ^= 1;
  EXPECT_EQ(ask({}, stale, From(1), kHelloBytes - 1).type, PacketType{});
  EXPECT_EQ(answered_, 0u);
  EXPECT_EQ(ask({}, stale, From(1)).type, PacketType::kRefuse);
  EXPECT_LE(answered_, kHelloBytes);
}

TEST_F(SpanCookie, ServesItsClientAtItsAddressForTenSeconds) {
  const TimeNs given = 5'000_s;
  const Header right = with_cookie(given, 7, From(1));
  const auto answer = [&](const Header& asked, uint64_t from, TimeNs age) {
    return ask(given + age, asked, From(from)).type;
  };
  for (int bit = 0; bit < 64; ++bit) {
    Header wrong = right;
    wrong.cookie ^= uint64_t{1} << bit;
    EXPECT_EQ(answer(wrong, 1, 1_s), PacketType::kRetry) << bit;
  }
  Header of_another = right, of_another_time = right;
  ++of_another.id;
  ++of_another_time.cookie_time;
  EXPECT_EQ(answer(of_another, 1, 1_s), PacketType::kRetry);
  EXPECT_EQ(answer(of_another_time, 1, 1_s), PacketType::kRetry);
  EXPECT_EQ(answer(right, 2, 1_s), PacketType::kRetry);
  EXPECT_EQ(answer(right, 1, 10_s), PacketType::kAccept);
  EXPECT_EQ(answer(right, 1, 10_s + 1_us), PacketType::kRetry);
  // What a cookie says of its time is the same again every 2^32 us.
  EXPECT_EQ(answer(right, 1, TimeNs{(int64_t{1} << 32) * 1'000} + 5_s), PacketType::kRetry);
}

}  // namespace
}  // namespace farspan::transport
