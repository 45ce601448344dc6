#include "transports/baselines/model_wire.h"

#include "emulator/base/check.h"
#include "transports/core/wire.h"

namespace farspan::baselines {
namespace {

// Head as it travels: kind and flags share a byte, and the body's length has one.
struct Packed {
  uint8_t kind_flags;
  uint8_t stream;
  uint8_t body_words;
  uint8_t marked;
  uint32_t comm;
  uint32_t number;
};
static_assert(sizeof(Packed) + 4 == kHeadBytes);

}  // namespace

void Compose(const Head& head, std::span<const uint8_t> body, transport::TxSlot& slot) {
  FARSPAN_CHECK(head.flags < 16 && body.size() % 4 == 0 && body.size() < 4 * 128);
  const Packed packed{static_cast<uint8_t>(static_cast<uint8_t>(head.kind) << 4 | head.flags),
                      head.stream,
                      static_cast<uint8_t>(body.size() / 4),
                      head.marked,
                      head.comm,
                      head.number};
  slot.header_bytes = kHeadBytes + static_cast<uint32_t>(body.size());
  std::memcpy(slot.header.data(), &packed, sizeof packed);
  if (!body.empty()) std::memcpy(slot.header.data() + sizeof packed, body.data(), body.size());
  const auto payload = slot.payload.data == nullptr
                           ? std::span<const uint8_t>{}
                           : std::span(slot.payload.data, slot.payload.bytes);
  transport::SealCrc(std::span(slot.header).first(slot.header_bytes), payload);
}

transport::TxSlot ControlSlot(const Head& head, std::span<const uint8_t> body,
                              const transport::Route& route) {
  transport::TxSlot slot;
  slot.payload = {};
  slot.trailer_bytes = 0;
  slot.route = route;
  Compose(head, body, slot);
  return slot;
}

bool Parse(const transport::RxView& view, Arrival& arrival) {
  Packed packed{};
  if (view.bytes.size() < kHeadBytes) return false;
  std::memcpy(&packed, view.bytes.data(), sizeof packed);
  const size_t header = kHeadBytes + 4 * size_t{packed.body_words};
  if (view.bytes.size() < header) return false;
  arrival.payload = view.bytes.subspan(header);
  if (!transport::CrcHolds(view.bytes.first(header), arrival.payload)) return false;
  arrival.at = view.at;
  arrival.route = &view.route;
  arrival.head = {static_cast<Kind>(packed.kind_flags >> 4),
                  static_cast<uint8_t>(packed.kind_flags & 15),
                  packed.stream,
                  packed.marked,
                  packed.comm,
                  packed.number};
  arrival.body = view.bytes.subspan(sizeof packed, header - kHeadBytes);
  arrival.payload_bytes =
      view.lengths_only ? view.payload_bytes : static_cast<uint32_t>(arrival.payload.size());
  arrival.ecn_marked = view.ecn_marked;
  return true;
}

}  // namespace farspan::baselines
