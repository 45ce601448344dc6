// What drivers of real networks share, over an endpoint and a driver that do as the test says.
#include "transports/drivers/datagram_transport.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <vector>

namespace farspan::transport {
namespace {

using namespace farspan::literals;

// Has one datagram to send; all requests are done at once.
class OneDatagram final : public Endpoint {
 public:
  void on_datagrams(TimeNs, std::span<const RxView>) override {}
  size_t poll_transmit(TimeNs, TimeNs, std::span<TxSlot> slots) override {
    if (payload.empty() || given) return 0;
    given = true;
    slots[0].header_bytes = slots[0].trailer_bytes = 0;
    slots[0].payload = {payload.data(), static_cast<uint32_t>(payload.size()), 0};
    return 1;
  }
  void on_sent(TimeNs, std::span<const Sent>) override {}
  void on_timeout(TimeNs) override { ++timeouts; }
  TimeNs next_deadline() const override { return deadline; }
  std::optional<Event> poll_event() override { return {}; }
  Result<ListenId> listen(uint64_t&) override { return ListenId{}; }
  void stop_listening(TimeNs, ListenId) override {}
  std::optional<CommId> accept(ListenId) override { return {}; }
  Result<CommId> connect(TimeNs, uint64_t, std::span<const Route>) override { return CommId{}; }
  CommState state(CommId) const override { return CommState::kReady; }
  std::string_view failure(CommId) const override { return {}; }
  void close(TimeNs, CommId) override {}
  bool all_told() const override { return true; }
  std::optional<RequestId> post_send(TimeNs, CommId, const Buffer&, uint32_t) override {
    return RequestId{};
  }
  std::optional<RequestId> post_recv(TimeNs, CommId, const Buffer&, uint32_t) override {
    return RequestId{};
  }
  Completion test(RequestId) override { return {Progress::kDone, 0}; }

  TimeNs deadline = kNever;
  uint32_t timeouts = 0;
  std::vector<uint8_t> payload;
  bool given = false;
};

class Driver final : public DatagramTransport {
 public:
  explicit Driver(std::unique_ptr<OneDatagram> endpoint)
      : DatagramTransport(std::move(endpoint), {}) {}

  bool room = true;
  uint32_t waiting = 0, taken = 0;  // calls of receive() that bring something
  std::vector<uint8_t> sent;
  std::vector<TimeNs> slept_until;

 private:
  size_t paths() const override { return 1; }
  Address address(size_t) const override { return {}; }
  bool is_address(const Address&) const override { return true; }
  bool receive(TimeNs) override { return taken < waiting && ++taken > 0; }
  size_t transmit(std::span<const TxSlot> slots) override {
    if (!room) return 0;
    for (const TxSlot& slot : slots) {
      sent.insert(sent.end(), slot.payload.data, slot.payload.data + slot.payload.bytes);
    }
    return slots.size();
  }
  void wait(TimeNs until, bool) override { slept_until.push_back(until); }
};

// An endpoint says "at once" by a time long gone; what a driver makes of it must not overflow.
TEST(DatagramTransport, SleepsUntilNoEarlierThanNow) {
  auto endpoint = std::make_unique<OneDatagram>();
  endpoint->deadline = {INT64_MIN};
  Driver driver(std::move(endpoint));
  const TimeNs start = driver.now();
  driver.progress(start + 1_ms);
  ASSERT_FALSE(driver.slept_until.empty());
  for (const TimeNs until : driver.slept_until) {
    EXPECT_GE(until, start);
    EXPECT_LE(until, start + 1_ms);
  }
}

// After its host has stood still; but not for ever.
TEST(DatagramTransport, HearsWhatWaitsBeforeATimerSpeaksOfSilence) {
  for (const uint32_t waiting : {0u, 1u, 10u, 1u << 30}) {
    auto made = std::make_unique<OneDatagram>();
    OneDatagram& endpoint = *made;
    endpoint.deadline = {INT64_MIN};
    Driver driver(std::move(made));
    driver.waiting = waiting;
    while (endpoint.timeouts == 0) driver.progress(driver.now());
    EXPECT_GE(driver.taken, std::min(waiting, 16u));
    EXPECT_LE(driver.taken, std::min(waiting, 100u));
  }
}

// A datagram that waits for room outlives its request (it is a copy of what has arrived) and its
// comm; their buffers do not.
TEST(DatagramTransport, WhatWaitsForRoomNeedsNoBufferAfterItsRequestOrComm) {
  for (const bool by_close : {false, true}) {
    auto made = std::make_unique<OneDatagram>();
    OneDatagram& endpoint = *made;
    Driver driver(std::move(made));
    endpoint.payload.assign(1000, 7);
    driver.room = false;
    driver.progress(driver.now());
    if (by_close) {
      driver.close({});
    } else {
      ASSERT_EQ(driver.test({}).progress, Progress::kDone);
    }
    std::fill(endpoint.payload.begin(), endpoint.payload.end(), uint8_t{0});
    driver.room = true;
    driver.progress(driver.now());
    EXPECT_EQ(driver.sent, std::vector<uint8_t>(1000, 7)) << by_close;
  }
}

}  // namespace
}  // namespace farspan::transport
