// Two Span endpoints and what travels between them, every byte of it: in virtual time, over a path
// that loses, repeats and reorders. What the wire itself needs is there before the first datagram,
// so that a test can count what the endpoints allocate; and a tap sees, and may inject, anything.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "transports/core/span.h"

namespace farspan::test {

struct SpanWireOptions {
  transport::SpanConfig config;  // of both, but for the seed
  TimeNs delay{5'000'000};
  TimeNs jitter{};  // each datagram is later by up to this much, and overtakes freely
  double loss = 0;
  double duplicate = 0;
  uint64_t seed = 1;
};

class SpanWire {
 public:
  explicit SpanWire(const SpanWireOptions& options);

  bool connect(TimeNs limit);
  // False where nothing is left to do.
  bool step();
  TimeNs now() const { return now_; }
  // As if it had arrived at `to` just now.
  void inject(uint32_t to, std::span<const uint8_t> bytes);
  // Of all that has left, when, and from whom.
  uint64_t trace_hash() const { return hash_; }

  std::array<std::unique_ptr<transport::Span>, 2> side;  // 0 sends, 1 receives
  std::array<transport::CommId, 2> comm;
  // Called for every datagram that leaves for side `to`: true loses it.
  std::function<bool(uint32_t to, std::span<const uint8_t> bytes)> lose;
  // Called for every datagram that has been handed to side `to`.
  std::function<void(uint32_t to, std::span<const uint8_t> bytes)> on_delivered;

 private:
  static constexpr size_t kDatagrams = 8'192;
  static constexpr size_t kBytes = 1'024;
  struct Flying {
    TimeNs due;
    uint64_t order;
    uint32_t to;
    uint32_t size;
    uint32_t place;
    bool operator<(const Flying& o) const {
      return due != o.due ? due > o.due : order > o.order;  // the earliest is a heap's front
    }
  };

  void send(uint32_t from, const transport::TxSlot& slot);
  void deliver(const Flying& flying);
  double draw();

  const SpanWireOptions options_;
  TimeNs now_{};
  std::vector<Flying> flying_;
  std::vector<std::array<uint8_t, kBytes>> store_;
  std::vector<uint32_t> free_;
  std::vector<transport::TxSlot> slots_;
  uint64_t order_ = 0;
  uint64_t draws_ = 0;
  uint64_t hash_ = 14695981039346656037u;
};

}  // namespace farspan::test
