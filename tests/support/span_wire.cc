#include "tests/support/span_wire.h"

#include <algorithm>
#include <cstring>

#include "emulator/base/check.h"
#include "emulator/base/random.h"

namespace farspan::test {

using namespace transport;

namespace {

Route RouteTo(uint32_t side) {
  Route route;
  route.peer.size = 1;
  route.peer.bytes[0] = static_cast<uint8_t>(side);
  return route;
}

}  // namespace

SpanWire::SpanWire(const SpanWireOptions& options)
    : options_(options), store_(kDatagrams), slots_(16) {
  for (uint32_t i = 0; i < 2; ++i) {
    SpanConfig config = options.config;
    config.seed = 2 * options.seed + i;
    auto made = Span::Create(config);
    FARSPAN_CHECK(made.has_value());
    side[i] = *std::move(made);
  }
  flying_.reserve(kDatagrams);
  for (uint32_t i = 0; i < kDatagrams; ++i) free_.push_back(i);
}

bool SpanWire::connect(TimeNs limit) {
  uint64_t token = 0;
  const ListenId listener = *side[1]->listen(token);
  const Route route = RouteTo(1);
  comm[0] = *side[0]->connect(now_, token, {&route, 1});
  std::optional<CommId> far;
  while (side[0]->state(comm[0]) == CommState::kConnecting || !far) {
    if (!step() || now_ > limit) return false;
    if (!far) far = side[1]->accept(listener);
  }
  comm[1] = *far;
  return side[0]->state(comm[0]) == CommState::kReady;
}

bool SpanWire::step() {
  TimeNs next = std::min(side[0]->next_deadline(), side[1]->next_deadline());
  if (!flying_.empty()) next = std::min(next, flying_.front().due);
  if (next == kNever) return false;
  now_ = std::max(now_, next);
  while (!flying_.empty() && flying_.front().due <= now_) {
    const Flying flying = flying_.front();
    std::pop_heap(flying_.begin(), flying_.end());
    flying_.pop_back();
    deliver(flying);
  }
  for (uint32_t i = 0; i < 2; ++i) {
    Span& span = *side[i];
    if (span.next_deadline() <= now_) span.on_timeout(now_);
    while (const size_t n = span.poll_transmit(now_, now_, slots_)) {
      for (size_t s = 0; s < n; ++s) {
        const Sent sent{slots_[s].id, slots_[s].tx_time};
        send(i, slots_[s]);
        span.on_sent(now_, {&sent, 1});
      }
    }
    while (span.poll_event()) {
    }
  }
  return true;
}

double SpanWire::draw() { return ToUnit(Draw({options_.seed}, RandomPurpose::kTest, draws_++).lo); }

void SpanWire::send(uint32_t from, const TxSlot& slot) {
  std::array<uint8_t, kBytes> bytes;
  FARSPAN_CHECK(slot.bytes() <= kBytes);
  std::memcpy(bytes.data(), slot.header.data(), slot.header_bytes);
  if (slot.payload.bytes != 0) {
    std::memcpy(&bytes[slot.header_bytes], slot.payload.data, slot.payload.bytes);
  }
  std::memcpy(&bytes[slot.header_bytes + slot.payload.bytes], slot.trailer.data(),
              slot.trailer_bytes);
  const auto mix = [this](uint64_t value) { hash_ = (hash_ ^ value) * 1099511628211u; };  // FNV-1a
  mix(static_cast<uint64_t>(now_.ns));
  mix(from);
  for (uint32_t i = 0; i < slot.bytes(); ++i) mix(bytes[i]);
  if (lose && lose(1 - from, std::span(bytes).first(slot.bytes()))) return;
  const int copies = draw() < options_.loss ? 0 : (draw() < options_.duplicate ? 2 : 1);
  for (int i = 0; i < copies; ++i) {
    const TimeNs late{static_cast<int64_t>(draw() * static_cast<double>(options_.jitter.ns))};
    FARSPAN_CHECK(!free_.empty());
    const uint32_t place = free_.back();
    free_.pop_back();
    store_[place] = bytes;
    flying_.push_back({now_ + options_.delay + late, order_++, 1 - from, slot.bytes(), place});
    std::push_heap(flying_.begin(), flying_.end());
  }
}

void SpanWire::inject(uint32_t to, std::span<const uint8_t> bytes) {
  const RxView view{.at = now_, .route = RouteTo(1 - to), .bytes = bytes};
  side[to]->on_datagrams(now_, {&view, 1});
}

void SpanWire::deliver(const Flying& flying) {
  const auto bytes = std::span(store_[flying.place]).first(flying.size);
  inject(flying.to, bytes);
  if (on_delivered) on_delivered(flying.to, bytes);
  free_.push_back(flying.place);
}

}  // namespace farspan::test
