// Two endpoints and an enemy between them: the input says what becomes of each datagram, and what
// is forged. Damaged and foreign datagrams must change nothing; a peer that speaks the protocol and
// lies may end the connection, but no more; what is delivered is what was sent, unless it lied.
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <deque>
#include <optional>
#include <span>
#include <vector>

#include "emulator/base/check.h"
#include "transports/core/span.h"

namespace {

using namespace farspan;
using namespace farspan::transport;
using Bytes = std::vector<uint8_t>;

constexpr uint64_t kMessageBytes = 1'500;

struct Side {
  std::unique_ptr<Span> span;
  std::deque<Bytes> inbox;
  Route from;  // what the other side's datagrams show
};

class Session {
 public:
  Session() {
    SpanConfig config;
    config.payload_bytes = 100;
    config.window_packets = 64;
    config.max_requests = 4;
    config.max_connections = 4;
    config.parity_symbols = 64;
    config.open_blocks = 4;
    config.controller.rate = {1'000'000'000};
    for (uint32_t i = 0; i < 2; ++i) {
      config.seed = i + 1;
      side_[i].span = *Span::Create(config);
      side_[i].from.peer.size = 1;
      side_[i].from.peer.bytes[0] = static_cast<uint8_t>(1 - i);
    }
    uint64_t token = 0;
    const ListenId listener = *side_[1].span->listen(token);
    comm_[0] = *side_[0].span->connect(now_, token, std::span(&side_[0].from, 1));
    std::optional<CommId> far;
    for (int i = 0; i < 20 && !far; ++i) {
      exchange_all();
      far = side_[1].span->accept(listener);
    }
    FARSPAN_CHECK(far.has_value());
    comm_[1] = *far;
    exchange_all();
    for (uint64_t j = 0; j < kMessageBytes; ++j) sent_[j] = static_cast<uint8_t>(j * 7 + 1);
    receive_ = side_[1].span->post_recv(now_, comm_[1], {got_.data(), got_.size()}, 3);
    send_ = side_[0].span->post_send(now_, comm_[0], {sent_.data(), sent_.size()}, 3);
  }

  void run(std::span<const uint8_t> script) {
    while (!script.empty()) {
      const uint8_t op = script[0];
      const uint8_t argument = script.size() > 1 ? script[1] : 0;
      script = script.subspan(std::min<size_t>(2, script.size()));
      Side& to = side_[op & 1];
      switch (op >> 1 & 7) {
        case 0:
        case 1:
          advance(TimeNs{int64_t{argument} * argument * 1'000});
          break;
        case 2:
        case 3:
          deliver(to, 0);
          break;
        case 4:
          if (!to.inbox.empty()) to.inbox.pop_front();
          break;
        case 5:
          if (!to.inbox.empty()) to.inbox.push_back(to.inbox.front());
          deliver(to, argument % std::max<size_t>(1, to.inbox.size()));
          break;
        case 6:
          damage(to, argument);
          break;
        default:
          script = forge(to, script);
      }
    }
    check();
  }

 private:
  void collect() {
    std::array<TxSlot, 16> slots;
    for (int i = 0; i < 2; ++i) {
      const size_t n = side_[i].span->poll_transmit(now_, now_, slots);
      for (size_t s = 0; s < n; ++s) {
        const TxSlot& slot = slots[s];
        Bytes bytes(slot.header.begin(), slot.header.begin() + slot.header_bytes);
        if (slot.payload.bytes != 0) {
          bytes.insert(bytes.end(), slot.payload.data, slot.payload.data + slot.payload.bytes);
        }
        const Sent sent{slot.id, slot.tx_time};
        side_[i].span->on_sent(now_, {&sent, 1});
        if (side_[1 - i].inbox.size() < 500) side_[1 - i].inbox.push_back(std::move(bytes));
      }
    }
  }
  void advance(TimeNs by) {
    now_ += by;
    for (Side& side : side_) {
      if (side.span->next_deadline() <= now_) side.span->on_timeout(now_);
    }
    collect();
  }
  void give(Side& to, const Bytes& bytes) {
    const RxView view{.at = now_, .route = to.from, .bytes = bytes};
    to.span->on_datagrams(now_, {&view, 1});
  }
  void deliver(Side& to, size_t which) {
    if (which >= to.inbox.size()) return;
    const Bytes bytes = to.inbox[which];
    to.inbox.erase(to.inbox.begin() + static_cast<ptrdiff_t>(which));
    give(to, bytes);
    collect();
  }
  void exchange_all(TimeNs step = TimeNs{100'000}) {
    for (int i = 0; i < 50; ++i) {
      advance(step);
      for (Side& side : side_) {
        while (!side.inbox.empty()) deliver(side, 0);
      }
    }
  }

  static uint64_t Dropped(const Span& span) {
    uint64_t sum = 0;
    for (const uint64_t d : span.counters().dropped) sum += d;
    return sum;
  }
  // One bit, or a truncation: dropped, whatever it was.
  void damage(Side& to, uint8_t argument) {
    if (to.inbox.empty()) return;
    Bytes bytes = to.inbox.front();
    if (argument % 4 == 0) {
      bytes.resize(bytes.size() * argument / 256);
    } else {
      bytes[bytes.size() * argument / 256] ^= static_cast<uint8_t>(1u << argument % 8);
    }
    const uint64_t before = Dropped(*to.span);
    const TimeNs deadline = to.span->next_deadline();
    give(to, bytes);
    FARSPAN_CHECK(Dropped(*to.span) == before + 1);
    FARSPAN_CHECK(to.span->next_deadline() == deadline);
  }
  // A datagram of the script's making, with the connection and the checksum right.
  std::span<const uint8_t> forge(Side& to, std::span<const uint8_t> script) {
    if (script.empty() || to.inbox.empty()) return script;
    const size_t size = std::min<size_t>(script.size(), 1 + script[0]);
    Bytes bytes(script.begin(), script.begin() + static_cast<ptrdiff_t>(size));
    bytes[0] = static_cast<uint8_t>(kWireVersion << 4 | (bytes[0] & 15));
    const Bytes& like = to.inbox.front();
    if (bytes.size() >= 12) std::copy_n(like.begin() + 4, 8, bytes.begin() + 4);
    Header header;
    uint32_t header_bytes = 0;
    if (ParseHeader(bytes, header, header_bytes) == Drop::kNone) {
      SealCrc(std::span(bytes).first(header_bytes), std::span(bytes).subspan(header_bytes));
      lied_ = true;
      give(to, bytes);
      collect();
    }
    return script.subspan(size);
  }
  void check() {
    if (lied_ || !receive_) return;
    Completion done;
    for (int i = 0; i < 40 && done.progress == Progress::kPending; ++i) {
      exchange_all(TimeNs{10'000'000});
      done = side_[1].span->test(*receive_);
    }
    if (done.progress == Progress::kFailed) return;  // the script had let too much time pass
    FARSPAN_CHECK(done.progress == Progress::kDone && done.bytes == kMessageBytes);
    FARSPAN_CHECK(std::equal(sent_.begin(), sent_.end(), got_.begin()));
  }

  std::array<Side, 2> side_;
  std::array<CommId, 2> comm_;
  std::array<uint8_t, kMessageBytes> sent_{};
  std::array<uint8_t, kMessageBytes> got_{};
  std::optional<RequestId> receive_;
  std::optional<RequestId> send_;
  TimeNs now_{};
  bool lied_ = false;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Session session;
  session.run(std::span(data, std::min<size_t>(size, 4'096)));
  return 0;
}
