#include "transports/baselines/rc_comm.h"

#include <algorithm>
#include <cstring>

#include "emulator/base/check.h"
#include "transports/core/wire.h"

namespace farspan::baselines {
namespace {

using transport::Reason;

constexpr uint8_t kAsks = 1;   // for an ACK
constexpr uint8_t kPlace = 2;  // has a RETH
constexpr uint8_t kEnd = 4;    // has immediate data
constexpr uint8_t kCts = 8;

// As long as the real ones.
struct Reth {
  uint64_t offset;  // of this packet in the message
  uint64_t what;    // the message's number, 16 bits, and its length
};
static_assert(sizeof(Reth) == 16);

struct CtsBody {
  Reth reth;
  uint64_t bytes;
  uint32_t tag;
  uint32_t rest[13];
};
static_assert(sizeof(CtsBody) == 16 + 64);

constexpr uint32_t kMessageBits = 16;

}  // namespace

RcComm::RcComm(ModelContext& context, const CommSetup& setup)
    : ModelComm(context, setup),
      pairs_(context.config.rc.queue_pairs),
      cts_(context.config.max_requests),
      missing_(context.config.max_requests) {
  const RcConfig& rc = context.config.rc;
  for (uint32_t i = 0; i < pairs_.size(); ++i) {
    transport::Path* path = context.shared_path(route(i), setup.rtt, kHeadBytes);
    pairs_[i].requester = std::make_unique<RcRequester>(
        context.config, path, StreamKey{context.random()}, context.counters);
    pairs_[i].responder =
        std::make_unique<RcResponder>(rc.selective, context.config.window_packets, rc.ack_packets);
  }
}

// --- Sending --------------------------------------------------------------------------------

void RcComm::on_posted(TimeNs now) {
  const uint64_t message = posted() - 1;
  missing_[message % missing_.size()] = parts();
  if (sends()) return match(now);
  const Request& receive = request(message);
  RcWork work;
  work.message = message;
  work.message_bytes = receive.buffer.bytes;
  work.inline_bytes = sizeof(CtsBody) - sizeof(Reth);
  work.tag = receive.tag;
  pairs_[0].requester->post(work);
}

// Sends and the receives that they fill, in order.
void RcComm::match(TimeNs now) {
  for (; matched_ < posted() && cts_[matched_ % cts_.size()].here; ++matched_) {
    const Cts& cts = cts_[matched_ % cts_.size()];
    const Request& send = request(matched_);
    if (send.buffer.bytes > cts.bytes || send.tag != cts.tag) {
      const Reason reason = send.buffer.bytes > cts.bytes ? Reason::kTooLong : Reason::kTag;
      return fail(now, std::string(transport::ToText(reason)), reason);
    }
    cts_[matched_ % cts_.size()].here = false;
    write(matched_);
  }
}

void RcComm::write(uint64_t message) {
  const transport::Buffer& buffer = request(message).buffer;
  const uint64_t step =
      (buffer.bytes + parts() - 1) / parts();  // net_ib aligns it; here it ends a packet
  const uint64_t payload = context_.config.payload_bytes;
  const uint64_t share = parts() == 1 ? buffer.bytes : (step + payload - 1) / payload * payload;
  for (uint32_t part = 0; part < parts(); ++part) {
    RcWork work;
    work.message = message;
    work.message_bytes = buffer.bytes;
    work.offset = std::min(part * share, buffer.bytes);
    work.bytes = std::min(share, buffer.bytes - work.offset);
    const auto* data = static_cast<const uint8_t*>(buffer.data);
    work.data = {data == nullptr ? nullptr : data + work.offset, 0, buffer.memory};
    const uint64_t pair = parts() == 1 ? turn_++ % pairs_.size() : part;
    pairs_[pair].requester->post(work);
  }
}

bool RcComm::transmit_data(TimeNs now, TimeNs horizon, transport::TxSlot& slot) {
  for (size_t i = 1; i <= pairs_.size(); ++i) {
    QueuePair& pair = pairs_[(last_sent_ + i) % pairs_.size()];
    const TimeNs departure = pair.requester->departure(now);
    if (departure > horizon) continue;
    last_sent_ = (last_sent_ + i) % pairs_.size();
    slot.tx_time = departure;
    slot.ecn_capable = true;
    compose(pair, pair.requester->take(departure), slot);
    return true;
  }
  return false;
}

void RcComm::compose(const QueuePair& pair, const RcRequester::Packet& packet,
                     transport::TxSlot& slot) const {
  const RcWork& work = *packet.work;
  const auto stream = static_cast<uint8_t>(&pair - pairs_.data());
  Head head{.kind = Kind::kData,
            .flags = packet.ack ? kAsks : uint8_t{0},
            .stream = stream,
            .number = static_cast<uint32_t>(packet.number)};
  const uint64_t inside = (packet.number - work.first) * context_.config.payload_bytes;
  const Reth reth{work.offset + inside,
                  (work.message & 0xffff) << 48 | (work.message_bytes & ((uint64_t{1} << 48) - 1))};
  if (!sends()) {
    const CtsBody body{reth, work.message_bytes, work.tag, {}};
    head.flags |= kCts | kPlace;
    slot.payload = {};
    return address(head, BodyOf(body), slot);
  }
  slot.payload = {work.data.data == nullptr ? nullptr : work.data.data + inside, packet.bytes,
                  work.data.memory};
  std::array<uint8_t, 20> body{};
  size_t bytes = 0;
  if (RcHeaderBytes(context_.config, work, packet.number) >= kHeadBytes + sizeof reth) {
    std::memcpy(body.data(), &reth, sizeof reth);
    bytes = sizeof reth;
    head.flags |= kPlace;
  }
  if (packet.number == work.last()) {
    bytes += sizeof(uint32_t);
    head.flags |= kEnd;
  }
  address(head, std::span(body).first(bytes), slot);
}

void RcComm::check_retries(TimeNs now, const QueuePair& pair) {
  if (!pair.requester->exhausted()) return;
  const uint32_t count = context_.config.rc.retry_count;
  fail(now,
       "the queue pair's retry count of " + std::to_string(count) +
           " is exceeded: is the peer running, and is the timeout (NCCL_IB_TIMEOUT, adaptive "
           "retransmission) longer than a round trip?",
       Reason::kNone);
}

// --- Receiving ------------------------------------------------------------------------------

void RcComm::on_packet(const Arrival& arrival) {
  const Head& head = arrival.head;
  if (head.stream >= pairs_.size()) return;
  QueuePair& pair = pairs_[head.stream];
  if (head.kind == Kind::kData) return on_data(arrival, pair);
  uint32_t count = 0;
  if ((head.kind != Kind::kAck && head.kind != Kind::kNak) || !arrival.read(count)) return;
  ++context_.counters.control_received;
  ++context_.freed;
  const uint64_t number = pair.requester->expand(head.number);
  // A go-back-N NAK says as well that everything before has come.
  if (head.kind == Kind::kAck || !context_.config.rc.selective) {
    pair.requester->on_ack(arrival.at, number, head.marked);
  }
  if (head.kind == Kind::kNak) pair.requester->on_nak(arrival.at, number, count);
  check_retries(arrival.at, pair);
  while (const auto work = pair.requester->pop_complete()) {
    if (sends()) end_part(work->message, work->message_bytes);
  }
}

void RcComm::on_data(const Arrival& arrival, QueuePair& pair) {
  const uint64_t number = pair.responder->expand(arrival.head.number);
  RcResponder::Answer answer;
  const auto verdict = pair.responder->on_packet(number, (arrival.head.flags & kAsks) != 0, answer);
  pair.marked += arrival.ecn_marked ? 1 : 0;
  ModelCounters& counters = context_.counters;
  switch (verdict) {
    case RcResponder::Verdict::kTaken:
      ++counters.data_received;
      counters.received_bytes += arrival.payload_bytes;
      if ((arrival.head.flags & kCts) != 0) {
        on_cts(arrival);
      } else {
        place(arrival, pair, number);
      }
      break;
    case RcResponder::Verdict::kDuplicate:
      ++counters.data_duplicate;
      break;
    case RcResponder::Verdict::kDiscarded:
      ++counters.data_discarded;
      break;
  }
  if (state() != transport::CommState::kReady || answer.kind == RcResponder::Answer::Kind::kNone) {
    return;
  }
  const bool nak = answer.kind == RcResponder::Answer::Kind::kNak;
  if (nak) ++counters.naks;
  const uint64_t told = nak ? answer.first : pair.responder->expected();
  send_control({.kind = nak ? Kind::kNak : Kind::kAck,
                .stream = arrival.head.stream,
                .marked = static_cast<uint8_t>(std::min(pair.marked, 255u)),
                .number = static_cast<uint32_t>(told)},
               BodyOf(static_cast<uint32_t>(answer.count)));
  if (!nak) pair.marked -= std::min(pair.marked, 255u);
}

void RcComm::on_cts(const Arrival& arrival) {
  CtsBody body{};
  if (!arrival.read(body)) return;
  const uint64_t message = transport::Expand(body.reth.what >> 48, kMessageBits, matched_);
  cts_[message % cts_.size()] = {true, body.bytes, body.tag};
  match(arrival.at);
}

void RcComm::place(const Arrival& arrival, QueuePair& pair, uint64_t number) {
  Reth reth{};
  uint64_t offset = 0;
  if ((arrival.head.flags & kPlace) != 0 && arrival.read(reth)) {
    const uint64_t first_open = posted() - std::min<uint64_t>(posted(), missing_.size());
    const uint64_t message = transport::Expand(reth.what >> 48, kMessageBits, first_open);
    pair.incoming = {message, number, reth.offset, reth.what & ((uint64_t{1} << 48) - 1)};
    offset = reth.offset;
  } else {
    offset = pair.incoming.offset + (number - pair.incoming.first) * context_.config.payload_bytes;
  }
  const transport::Buffer& buffer = request(pair.incoming.message).buffer;
  FARSPAN_CHECK(pair.incoming.message < posted() && offset + arrival.payload_bytes <= buffer.bytes);
  if (buffer.data != nullptr && !arrival.payload.empty()) {
    std::memcpy(static_cast<uint8_t*>(buffer.data) + offset, arrival.payload.data(),
                arrival.payload.size());
  }
  if ((arrival.head.flags & kEnd) != 0) pair.ends.emplace(number, pair.incoming);
  end_parts(pair);
}

// Immediate data counts once everything before it has come.
void RcComm::end_parts(QueuePair& pair) {
  while (!pair.ends.empty() && pair.ends.begin()->first < pair.responder->expected()) {
    const Incoming ended = pair.ends.begin()->second;
    pair.ends.erase(pair.ends.begin());
    end_part(ended.message, ended.bytes);
  }
}

void RcComm::end_part(uint64_t message, uint64_t bytes) {
  if (--missing_[message % missing_.size()] == 0) complete(message, bytes);
}

// --- Time -----------------------------------------------------------------------------------

void RcComm::on_deadline(TimeNs now) {
  ++context_.freed;
  for (QueuePair& pair : pairs_) {
    pair.requester->on_timeout(now);
    check_retries(now, pair);
  }
}

TimeNs RcComm::own_deadline() const {
  TimeNs next = kNever;
  for (const QueuePair& pair : pairs_) {
    next =
        std::min({next, pair.requester->deadline(), pair.requester->departure(TimeNs{INT64_MIN})});
  }
  return next;
}

}  // namespace farspan::baselines
