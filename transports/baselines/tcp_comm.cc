#include "transports/baselines/tcp_comm.h"

#include <algorithm>
#include <cstring>

#include "emulator/base/check.h"
#include "transports/core/wire.h"

namespace farspan::baselines {
namespace {

using transport::Reason;

constexpr uint8_t kHeaderFlag = 1;  // the segment is a message's header
constexpr uint64_t kPieceMin = 64 * 1024;

// As long as TCP's header with time stamps; a message's header is the segment's payload.
struct SegmentBody {
  uint64_t unused;
};
struct HeaderBody {
  SegmentBody segment;
  TcpMessageHeader message;
};
// With the 4 bytes before the first range and 8 for each that a real one has.
struct AckBody {
  uint64_t window;
  uint32_t before;
  uint32_t sack[2 * TcpAck::kMaxSacks];
};
static_assert(kHeadBytes + sizeof(SegmentBody) == kTcpHeaderBytes);

}  // namespace

TcpComm::TcpComm(ModelContext& context, const CommSetup& setup)
    : ModelComm(context, setup), left_(context.config.max_requests) {
  for (uint32_t i = 0; i < context.config.tcp.sockets; ++i) {
    streams_.emplace_back(context.config, context.new_path(route(i), setup.rtt, kTcpHeaderBytes),
                          context.counters);
  }
}

// --- Sending --------------------------------------------------------------------------------

void TcpComm::on_posted(TimeNs now) {
  if (!sends()) return read(now);
  const uint64_t message = posted() - 1;
  const transport::Buffer& buffer = request(message).buffer;
  streams_[0].pieces.push_back({message, nullptr, sizeof(TcpMessageHeader), true});
  deal(message, buffer.data, buffer.bytes);
  left_[message % left_.size()] = buffer.bytes + sizeof(TcpMessageHeader);
  write(now);
}

// Cuts a message into pieces and gives them to the connections in turn; the same on both sides.
void TcpComm::deal(uint64_t message, void* data, uint64_t bytes) {
  const uint64_t share = (bytes + streams_.size() - 1) / streams_.size();
  const uint64_t piece = std::max(kPieceMin, share);
  for (uint64_t at = 0; at < bytes; at += piece) {
    auto* from = data == nullptr ? nullptr : static_cast<uint8_t*>(data) + at;
    streams_[next_stream_].pieces.push_back({message, from, std::min(piece, bytes - at), false});
    next_stream_ = (next_stream_ + 1) % streams_.size();
  }
}

// As much as the send buffers take.
void TcpComm::write(TimeNs now) {
  const uint32_t payload = context_.config.payload_bytes;
  for (Stream& stream : streams_) {
    while (!stream.pieces.empty()) {
      Piece& piece = stream.pieces.front();
      TcpSegment segment;
      segment.bytes = static_cast<uint32_t>(std::min<uint64_t>(piece.left, payload));
      if (segment.bytes > stream.sender.room()) break;
      segment.is_header = piece.is_header;
      const transport::Buffer& buffer = request(piece.message).buffer;
      if (piece.is_header) segment.header = {buffer.bytes, request(piece.message).tag};
      if (piece.at != nullptr) {
        segment.data.assign(piece.at, piece.at + segment.bytes);
        piece.at += segment.bytes;
      }
      piece.left -= segment.bytes;
      uint64_t& left = left_[piece.message % left_.size()];
      left -= segment.bytes;
      if (left == 0) complete(piece.message, buffer.bytes);
      if (piece.left == 0) stream.pieces.pop_front();
      stream.sender.write(now, std::move(segment));
    }
  }
}

bool TcpComm::transmit_data(TimeNs now, TimeNs horizon, transport::TxSlot& slot) {
  for (size_t i = 1; i <= streams_.size(); ++i) {
    const size_t which = (last_sent_ + i) % streams_.size();
    const TimeNs departure = streams_[which].sender.departure(now);
    if (departure > horizon) continue;
    last_sent_ = which;
    const auto [segment, number] = streams_[which].sender.take(departure);
    Head head{.kind = Kind::kData,
              .stream = static_cast<uint8_t>(which),
              .number = static_cast<uint32_t>(number)};
    slot.tx_time = departure;
    if (segment->is_header) {
      head.flags = kHeaderFlag;
      slot.payload = {};
      address(head, BodyOf(HeaderBody{{}, segment->header}), slot);
    } else {
      slot.payload = {segment->data.empty() ? nullptr : segment->data.data(), segment->bytes, 0};
      address(head, BodyOf(SegmentBody{}), slot);
    }
    return true;
  }
  return false;
}

void TcpComm::on_ack(const Arrival& arrival, Stream& stream) {
  ++context_.counters.control_received;
  AckBody body{};
  if (arrival.body.size() < sizeof body.window || arrival.body.size() > sizeof body) return;
  std::memcpy(&body, arrival.body.data(), arrival.body.size());
  TcpAck ack;
  ack.expected = stream.sender.expand(arrival.head.number);
  ack.window = body.window;
  if (arrival.body.size() > sizeof body.window) {
    ack.sacks = static_cast<uint32_t>((arrival.body.size() - 12) / 8);
  }
  for (uint32_t i = 0; i < ack.sacks; ++i) {
    ack.sack[i] = {stream.sender.expand(body.sack[2 * i]),
                   stream.sender.expand(body.sack[2 * i + 1])};
  }
  stream.sender.on_ack(arrival.at, ack, arrival.head.marked);
  if (!closing()) write(arrival.at);
}

bool TcpComm::flushed() const {
  return dead_ || std::all_of(streams_.begin(), streams_.end(),
                              [](const Stream& stream) { return stream.sender.empty(); });
}

// --- Receiving ------------------------------------------------------------------------------

void TcpComm::on_packet(const Arrival& arrival) {
  if (arrival.head.stream >= streams_.size()) return;
  Stream& stream = streams_[arrival.head.stream];
  if (arrival.head.kind == Kind::kAck) return on_ack(arrival, stream);
  if (arrival.head.kind == Kind::kData) on_segment(arrival, stream);
  if (arrival.head.kind == Kind::kProbe) stream.receiver.on_probe();
  if (stream.receiver.ack_at() <= arrival.at) send_ack(stream);
}

void TcpComm::on_segment(const Arrival& arrival, Stream& stream) {
  TcpSegment segment;
  HeaderBody body{};
  segment.is_header = (arrival.head.flags & kHeaderFlag) != 0;
  if (segment.is_header && !arrival.read(body)) return;
  segment.header = body.message;
  segment.bytes = segment.is_header ? uint32_t{sizeof body.message} : arrival.payload_bytes;
  segment.data.assign(arrival.payload.begin(), arrival.payload.end());
  stream.marked += arrival.ecn_marked ? 1 : 0;
  const uint64_t number = stream.receiver.expand(arrival.head.number);
  const uint64_t bytes = segment.is_header ? 0 : segment.bytes;
  if (!stream.receiver.on_segment(arrival.at, number, std::move(segment))) {
    ++context_.counters.data_duplicate;
    return;
  }
  ++context_.counters.data_received;
  context_.counters.received_bytes += bytes;
  read(arrival.at);
}

// Whatever has come in order goes where it belongs, as far as receives are posted.
void TcpComm::read(TimeNs now) {
  for (bool moved = true; moved;) {
    moved = false;
    for (Stream& stream : streams_) {
      while (stream.receiver.front() != nullptr && read_stream(now, stream)) moved = true;
    }
  }
  if (peer_closed() && state() == transport::CommState::kReady && !unread()) end_after_peer();
}

bool TcpComm::read_stream(TimeNs now, Stream& stream) {
  const TcpSegment& segment = *stream.receiver.front();
  if (stream.pieces.empty()) {
    const bool first = &stream == &streams_[0];
    if (!first || !segment.is_header || begun_ == posted() || !begin(now, segment.header)) {
      return false;
    }
    stream.receiver.pop();
    return true;
  }
  Piece& piece = stream.pieces.front();
  FARSPAN_CHECK(!segment.is_header && segment.bytes <= piece.left);
  if (piece.at != nullptr) {
    std::memcpy(piece.at, segment.data.data(), segment.data.size());
    piece.at += segment.bytes;
  }
  piece.left -= segment.bytes;
  uint64_t& left = left_[piece.message % left_.size()];
  left -= segment.bytes;
  if (left == 0) complete(piece.message, request(piece.message).completion.bytes);
  if (piece.left == 0) stream.pieces.pop_front();
  stream.receiver.pop();
  return true;
}

// A message whose header has come fills the next receive.
bool TcpComm::begin(TimeNs now, const TcpMessageHeader& header) {
  Request& receive = request(begun_);
  if (header.bytes > receive.buffer.bytes || header.tag != receive.tag) {
    const Reason reason = header.bytes > receive.buffer.bytes ? Reason::kTooLong : Reason::kTag;
    fail(now, std::string(transport::ToText(reason)), reason);
    return false;
  }
  receive.completion.bytes = header.bytes;
  left_[begun_ % left_.size()] = header.bytes;
  deal(begun_, receive.buffer.data, header.bytes);
  if (header.bytes == 0) complete(begun_, 0);
  ++begun_;
  return true;
}

void TcpComm::send_ack(Stream& stream) {
  const TcpAck ack = stream.receiver.take_ack();
  AckBody body{ack.window, 0, {}};
  for (uint32_t i = 0; i < ack.sacks; ++i) {
    body.sack[2 * i] = static_cast<uint32_t>(ack.sack[i].first);
    body.sack[2 * i + 1] = static_cast<uint32_t>(ack.sack[i].end);
  }
  const size_t bytes = ack.sacks == 0 ? sizeof body.window : 12 + 8 * size_t{ack.sacks};
  const auto which = std::find_if(streams_.begin(), streams_.end(),
                                  [&](const Stream& s) { return &s == &stream; });
  send_control({.kind = Kind::kAck,
                .stream = static_cast<uint8_t>(which - streams_.begin()),
                .marked = static_cast<uint8_t>(std::min(stream.marked, 255u)),
                .number = static_cast<uint32_t>(ack.expected)},
               BodyOf(body).first(bytes));
  stream.marked -= std::min(stream.marked, 255u);
}

bool TcpComm::unread() const {
  return std::any_of(streams_.begin(), streams_.end(),
                     [](const Stream& stream) { return stream.receiver.front() != nullptr; });
}

// --- Time -----------------------------------------------------------------------------------

void TcpComm::on_deadline(TimeNs now) {
  for (size_t i = 0; i < streams_.size(); ++i) {
    Stream& stream = streams_[i];
    stream.sender.on_timeout(now);
    if (stream.sender.take_probe()) {
      send_control({.kind = Kind::kProbe, .stream = static_cast<uint8_t>(i)}, {});
    }
    if (stream.receiver.ack_at() <= now) send_ack(stream);
    dead_ = dead_ || stream.sender.dead();
  }
  if (dead_) {
    fail(now,
         "TCP: nothing was acknowledged in time: is the peer running, and does the path carry "
         "packets both ways?",
         Reason::kNone);
  }
}

TimeNs TcpComm::own_deadline() const {
  TimeNs next = kNever;
  for (const Stream& stream : streams_) {
    next = std::min({next, stream.sender.deadline(), stream.sender.departure(TimeNs{INT64_MIN}),
                     stream.receiver.ack_at()});
  }
  return next;
}

}  // namespace farspan::baselines
