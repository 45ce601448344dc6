// Two endpoints and an enemy between them. The first octets of the input choose recovery,
// controller and settings; the rest says what becomes of each datagram and what is forged. Damaged,
// foreign, replayed and unauthenticated datagrams must be counted and change nothing; a peer that
// speaks the protocol and lies may end the connection, but no more; and where nobody lied, all that
// was sent is delivered once the path is clean again.
//
// Thousands of inputs a second: sizes are small, time jumps from deadline to deadline, and work is
// bounded by the length of the script.
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "emulator/base/check.h"
#include "transports/congestion/controllers.h"
#include "transports/core/span.h"

namespace {

using namespace farspan;
using namespace farspan::transport;

constexpr std::array<uint32_t, 3> kMessageBytes{300, 0, 130};
constexpr TimeNs kDelay{20'000};
constexpr TimeNs kTimeout{10'000'000'000};
constexpr size_t kInbox = 64;
constexpr size_t kPast = 16;

struct Datagram {
  uint32_t size = 0;
  uint32_t path = 0;
  std::array<uint8_t, 512> bytes;

  Datagram() {}  // not cleared
  Datagram(const Datagram& other) { *this = other; }
  Datagram& operator=(const Datagram& other) {  // its spare room was a sixth of a session's time
    size = other.size;
    path = other.path;
    std::copy_n(other.bytes.begin(), size, bytes.begin());
    return *this;
  }
  std::span<const uint8_t> view() const { return std::span(bytes).first(size); }
  PacketType type() const { return static_cast<PacketType>(bytes[0] & 15); }
};

// Zeros where it has ended.
class Script {
 public:
  explicit Script(std::span<const uint8_t> bytes) : bytes_(bytes) {}
  bool empty() const { return bytes_.empty(); }
  uint8_t next() {
    if (empty()) return 0;
    const uint8_t value = bytes_[0];
    bytes_ = bytes_.subspan(1);
    return value;
  }
  uint32_t word() {
    uint32_t value = 0;
    for (int i = 0; i < 4; ++i) value = value << 8 | next();
    return value;
  }

 private:
  std::span<const uint8_t> bytes_;
};

// What an input needs and none leaves anything in: kept from one to the next.
struct Memory {
  std::array<std::vector<Datagram>, 2> inbox;
  std::array<std::vector<Datagram>, 2> past;  // of what each side has taken
  std::vector<TxSlot> slots = std::vector<TxSlot>(8);
};
Memory& Kept() {
  static Memory memory;
  return memory;
}

class Session {
 public:
  explicit Session(Script& script) : script_(script), inbox_(Kept().inbox), past_(Kept().past) {
    static const bool registered = (RegisterControllers(), true);
    (void)registered;
    constexpr std::array kRecoveries{"auto", "ec", "sr", "gbn"};
    constexpr std::array kControllers{"fixed", "bbr", "cubic", "swift", "dcqcn"};
    const uint8_t policies = script_.next();
    const uint8_t settings = script_.next();
    SpanConfig config;
    config.recovery = kRecoveries[policies % 4];
    config.congestion = kControllers[policies / 4 % 5];
    config.payload_bytes = 64;
    config.window_packets = 64;
    config.max_requests = 4;
    config.max_connections = 2;
    config.parity_symbols = 16;
    config.open_blocks = 4;
    config.policy.block_data = 4;
    config.controller.rate = {100'000'000};
    config.timeout = kTimeout;
    if ((settings & 1) != 0) config.mac = MacKey{{1, 2, 3}};
    config.payload_crc = (settings & 3) != 3;  // somebody must check the payload
    if ((settings & 4) != 0) config.first_number = ~0u - 5;
    if ((settings & 8) != 0) config.first_message = 65'535;
    key_ = config.mac;
    ordered_ = config.recovery == std::string_view("gbn");
    const uint32_t paths = (settings & 16) != 0 ? 2 : 1;
    for (uint32_t i = 0; i < 2; ++i) {
      config.seed = i + 1;
      side_[i] = *Span::Create(config);
      inbox_[i].clear();
      past_[i].clear();
    }
    listener_ = *side_[1]->listen(token_);
    std::array<Route, 2> routes;
    for (uint32_t p = 0; p < 2; ++p) routes[p] = route_to(1, p);
    comm_[0] = *side_[0]->connect(now_, token_, std::span(routes).first(paths));
    for (const uint32_t bytes : kMessageBytes) {
      in_.emplace_back(bytes);
      std::vector<uint8_t>& out = out_.emplace_back(bytes);
      for (uint32_t i = 0; i < bytes; ++i) out[i] = static_cast<uint8_t>(bytes + i * 7);
    }
    // Else the enemy is there from the first HELLO on.
    if ((settings & 32) == 0) settle(100, [&] { return comm_[1].has_value(); });
  }

  void run() {
    while (!script_.empty()) operate(script_.next());
    const bool honest = !lied_ && !closed_ && now_ < TimeNs{kTimeout.ns / 4};
    settle(honest ? 4'000 : 60, [&] { return done(); });
    if (!honest) return;
    FARSPAN_CHECK(done());
    FARSPAN_CHECK(in_ == out_);
  }

 private:
  static Route route_to(uint32_t side, uint32_t path) {
    Route route;
    route.peer.size = 2;
    route.peer.bytes[0] = static_cast<uint8_t>(side);
    route.peer.bytes[1] = static_cast<uint8_t>(path);
    route.local = path;
    return route;
  }

  void operate(uint8_t op) {
    const uint32_t to = op & 1;
    const uint8_t argument = op >> 5;
    std::vector<Datagram>& inbox = inbox_[to];
    switch (op >> 1 & 15) {
      case 0:
        return jump();
      case 1: {
        const int64_t by = script_.next();
        return advance(TimeNs{by * by * 2'000});
      }
      case 2:
      case 3:
        return deliver(to, 0);
      case 4:
        return deliver(to, argument);
      case 5:
        return deliver_all(to);
      case 6:
        if (!inbox.empty()) inbox.erase(inbox.begin());
        return;
      case 7:
        if (!inbox.empty() && inbox.size() < kInbox) inbox.push_back(Datagram(inbox.front()));
        return;
      case 8:
        return replay(to, argument);
      case 9:
      case 10:
        return damage(to);
      case 11:
        return estrange(to, argument);
      case 12:
        return forge(to, argument, false);
      case 13:
      case 14:
        return forge(to, argument, true);
      default:
        if (argument == 7) {
          closed_ = true;
          if (comm_[to]) side_[to]->close(now_, *comm_[to]);
        }
        return collect();
    }
  }

  // --- Time, and datagrams on their way

  void collect() {
    std::vector<TxSlot>& slots = Kept().slots;
    for (uint32_t i = 0; i < 2; ++i) {
      while (side_[i]->next_deadline() <= now_) {
        const size_t n = side_[i]->poll_transmit(now_, now_, slots);
        if (n == 0) break;
        for (size_t s = 0; s < n; ++s) send(i, slots[s]);
      }
      while (side_[i]->poll_event()) {
      }
    }
    use();
  }
  void send(uint32_t from, const TxSlot& slot) {
    const Sent sent{slot.id, slot.tx_time};
    side_[from]->on_sent(now_, {&sent, 1});
    std::vector<Datagram>& inbox = inbox_[1 - from];
    if (inbox.size() == kInbox) return;
    Datagram& datagram = inbox.emplace_back();
    datagram.path = slot.route.local;
    const auto put = [&](const uint8_t* bytes, uint32_t count) {
      if (count != 0) std::memcpy(&datagram.bytes[datagram.size], bytes, count);
      datagram.size += count;
    };
    put(slot.header.data(), slot.header_bytes);
    put(slot.payload.data, slot.payload.bytes);
    put(slot.trailer.data(), slot.trailer_bytes);
  }
  void advance(TimeNs by) {
    now_ += by;
    for (auto& side : side_) {
      if (side->next_deadline() <= now_) side->on_timeout(now_);
    }
    collect();
  }
  void jump() {
    const TimeNs next = std::min(side_[0]->next_deadline(), side_[1]->next_deadline());
    if (next != kNever) advance(std::max(next - now_, TimeNs{}));
  }
  // From an exact copy, so that AddressSanitizer sees every read beyond the end.
  void give(uint32_t to, std::span<const uint8_t> bytes, uint32_t path) {
    const std::unique_ptr<uint8_t[]> exact(new uint8_t[bytes.size()]);
    if (!bytes.empty()) std::memcpy(exact.get(), bytes.data(), bytes.size());
    const RxView view{
        .at = now_, .route = route_to(1 - to, path), .bytes = {exact.get(), bytes.size()}};
    side_[to]->on_datagrams(now_, {&view, 1});
  }
  void take(uint32_t to, Datagram& datagram) {
    const uint64_t before = dropped(to);
    give(to, datagram.view(), datagram.path);
    if (dropped(to) != before) return;
    if (past_[to].size() == kPast) past_[to].erase(past_[to].begin());
    past_[to].push_back(datagram);
  }
  void deliver(uint32_t to, size_t which) {
    std::vector<Datagram>& inbox = inbox_[to];
    if (which >= inbox.size()) return;
    take(to, inbox[which]);
    inbox.erase(inbox.begin() + static_cast<ptrdiff_t>(which));
    advance(kDelay);
  }
  void deliver_all(uint32_t to) {
    for (Datagram& datagram : inbox_[to]) take(to, datagram);
    inbox_[to].clear();
    advance(kDelay);
  }
  template <typename Condition>
  void settle(int steps, Condition condition) {
    collect();
    for (int i = 0; i < steps && !condition(); ++i) {
      if (inbox_[0].empty() && inbox_[1].empty()) {
        jump();
      } else {
        for (uint32_t to = 0; to < 2; ++to) {
          for (Datagram& datagram : inbox_[to]) take(to, datagram);
          inbox_[to].clear();
        }
        advance(kDelay);
      }
    }
  }

  // --- The two programs

  void use() {
    if (!comm_[1]) comm_[1] = side_[1]->accept(listener_);
    for (uint32_t i = 0; i < 2; ++i) {
      std::vector<RequestId>& posted = posted_[i];
      while (comm_[i] && posted.size() < kMessageBytes.size()) {
        std::vector<uint8_t>& bytes = (i == 0 ? out_ : in_)[posted.size()];
        const Buffer buffer{bytes.data(), bytes.size()};
        const auto request = i == 0 ? side_[0]->post_send(now_, *comm_[0], buffer, 3)
                                    : side_[1]->post_recv(now_, *comm_[1], buffer, 3);
        if (!request) break;
        posted.push_back(*request);
      }
      while (finished_[i] < posted.size() &&
             side_[i]->test(posted[finished_[i]]).progress == Progress::kDone) {
        ++finished_[i];
      }
    }
    // Nobody is told before the receiver has it.
    FARSPAN_CHECK(lied_ || finished_[0] <= finished_[1]);
  }
  bool done() const { return finished_[0] + finished_[1] == 2 * kMessageBytes.size(); }

  // --- The enemy

  uint64_t dropped(uint32_t side) const {
    uint64_t sum = 0;
    for (const uint64_t d : side_[side]->counters().dropped) sum += d;
    return sum;
  }
  void expect_dropped(uint32_t to, std::span<const uint8_t> bytes, uint32_t path) {
    Span& span = *side_[to];
    const uint64_t drops = dropped(to);
    SpanCounters before = span.counters();
    const TimeNs deadline = span.next_deadline();
    const auto state = comm_[to] ? span.state(*comm_[to]) : CommState::kClosed;
    give(to, bytes, path);
    FARSPAN_CHECK(dropped(to) == drops + 1);
    before.dropped = span.counters().dropped;
    FARSPAN_CHECK(std::memcmp(&before, &span.counters(), sizeof before) == 0);
    FARSPAN_CHECK(span.next_deadline() == deadline);
    FARSPAN_CHECK(!comm_[to] || span.state(*comm_[to]) == state);
  }

  void replay(uint32_t to, size_t which) {
    if (which >= past_[to].size()) return;
    const Datagram& datagram = past_[to][past_[to].size() - 1 - which];
    // A HELLO is answered again, go-back-N forgets what it does not keep, and who can forge numbers
    // can have them wrap.
    if (datagram.type() == PacketType::kHello || lied_ ||
        (ordered_ && datagram.type() == PacketType::kData)) {
      return give(to, datagram.view(), datagram.path);
    }
    expect_dropped(to, datagram.view(), datagram.path);
  }

  // The next one to come, or else the last one that came.
  const Datagram* sample(uint32_t to) const {
    if (!inbox_[to].empty()) return &inbox_[to].front();
    return past_[to].empty() ? nullptr : &past_[to].back();
  }

  // One bit, or its end.
  void damage(uint32_t to) {
    const uint8_t where = script_.next();
    const uint8_t how = script_.next();
    const Datagram* like = sample(to);
    if (like == nullptr) return;
    Datagram datagram = *like;
    const uint32_t at = datagram.size * where / 256;
    if (how % 4 == 0) {
      datagram.size = at;
    } else {
      datagram.bytes[at] ^= static_cast<uint8_t>(1u << how % 8);
    }
    expect_dropped(to, datagram.view(), datagram.path);
  }

  void seal(Datagram& datagram, uint32_t header_bytes, uint32_t number_high) const {
    const uint32_t end = datagram.size;
    const auto header = std::span(datagram.bytes).first(header_bytes);
    const auto payload = std::span(datagram.bytes).subspan(header_bytes, end - header_bytes);
    SealCrc(header, side_[0]->config().payload_crc ? payload : std::span<const uint8_t>{});
    if (!key_) return;
    const uint64_t mac = Mac(*key_, header, payload, number_high);
    std::memcpy(&datagram.bytes[end], &mac, kMacBytes);
    datagram.size += kMacBytes;
  }

  // Of another version or connection, all else in order; or for the other side.
  void estrange(uint32_t to, uint8_t how) {
    const Datagram* like = sample(to);
    if (like == nullptr || like->type() == PacketType::kHello) return;
    if (how < 2) return expect_dropped(1 - to, like->view(), like->path);
    Datagram datagram = *like;
    if (how < 5) {
      datagram.bytes[4 + script_.next() % 8] ^= static_cast<uint8_t>(1u << how);
    } else {
      datagram.bytes[0] = static_cast<uint8_t>((kWireVersion + how) << 4 | (like->bytes[0] & 15));
    }
    Header header;
    uint32_t header_bytes = 0;
    FARSPAN_CHECK(ParseHeader(like->view(), header, header_bytes) == Drop::kNone);
    datagram.size -= key_ ? kMacBytes : 0;
    seal(datagram, header_bytes, 0);
    expect_dropped(to, datagram.view(), datagram.path);
  }

  // A datagram like one of the peer's, with some fields changed and the checksum right.
  void forge(uint32_t to, uint8_t changes, bool with_key) {
    const Datagram* like = sample(to);
    if (like == nullptr) return;
    Header header;
    uint32_t header_bytes = 0;
    FARSPAN_CHECK(ParseHeader(like->view(), header, header_bytes) == Drop::kNone);
    const uint32_t payload = like->size - header_bytes - (key_ ? kMacBytes : 0);
    for (uint32_t i = 0; i <= changes; ++i) change(header);
    Datagram datagram;
    datagram.path = like->path;
    const uint32_t size = EncodeHeader(header, datagram.bytes);
    const bool symbol = header.type == PacketType::kData || header.type == PacketType::kParity;
    datagram.size = size;
    if (symbol && payload != 0) {
      std::copy_n(like->bytes.begin() + header_bytes, payload, datagram.bytes.begin() + size);
      datagram.size += payload;
    } else if (symbol) {
      std::fill_n(datagram.bytes.begin() + size, 64, uint8_t{0xa5});
      datagram.size += 64;
    }
    const uint32_t high = (changes & 1) != 0 && header.number < 1'000 ? 1 : 0;
    seal(datagram, size, high);
    if (key_ && !with_key) {
      datagram.bytes[datagram.size - 1] ^= 1;
      return expect_dropped(to, datagram.view(), datagram.path);
    }
    lied_ = true;
    give(to, datagram.view(), datagram.path);
    advance(TimeNs{});
  }

  // Small steps and any value: an octet says which field, another by how much.
  void change(Header& header) {
    const uint8_t which = script_.next();
    const auto step = static_cast<int8_t>(script_.next());
    const auto value = which < 128 ? static_cast<uint32_t>(step) : script_.word();
    const bool add = which < 128;
    const auto move = [&](auto& field, uint64_t limit = ~uint64_t{0}) {
      const auto sum = static_cast<uint64_t>(field) * (add ? 1 : 0) +
                       static_cast<uint64_t>(static_cast<int32_t>(value));
      field = static_cast<std::remove_reference_t<decltype(field)>>(sum & limit);
    };
    switch (which % 20) {
      case 0:
        header.type = static_cast<PacketType>(1 + value % 11);
        return;
      case 1:
        return move(header.path);
      case 2:
        return move(header.message);
      case 3:
      case 4:
        return move(header.number);
      case 5:
        return move(header.index, kMaxDatagramIndex);
      case 6:
        return move(header.message_bytes, kMaxMessageBytes);
      case 7:
        return move(header.tag);
      case 8:
        header.block_data = static_cast<uint8_t>(std::max(1u, value & 255));
        header.stride = std::max<uint8_t>(1, header.stride);
        return;
      case 9:
        return move(header.row);
      case 10:
        header.stride = static_cast<uint8_t>(std::max(1u, value & 255));
        return;
      case 11:
        return move(header.high);
      case 12:
        return move(header.low);
      case 13:
        return move(header.delay_ns);
      case 14:
        return move(header.ecn_marked);
      case 15:
        return move(header.credits);
      case 16:
        header.newest = (value & 1) != 0;
        return move(header.rtt_ns);
      case 17: {
        header.gap_count = static_cast<uint8_t>(value % 4);
        for (uint32_t i = 0; i < header.gap_count; ++i) {
          header.gaps[i] = {header.low + script_.next(), script_.next()};
        }
        return;
      }
      case 18:
        header.reason = static_cast<Reason>(value % static_cast<uint32_t>(Reason::kCount));
        header.window = 1u << value % 24;
        return move(header.paths);
      default:
        header.in_order = (value & 1) != 0;
        header.payload_crc = (value & 2) != 0;
        move(header.payload_bytes);
        move(header.first_number);
        return move(header.id);
    }
  }

  Script& script_;
  std::array<std::vector<Datagram>, 2>& inbox_;
  std::array<std::vector<Datagram>, 2>& past_;
  std::array<std::unique_ptr<Span>, 2> side_;
  std::array<std::optional<CommId>, 2> comm_;
  std::vector<std::vector<uint8_t>> out_;
  std::vector<std::vector<uint8_t>> in_;
  std::array<std::vector<RequestId>, 2> posted_;
  std::array<size_t, 2> finished_{};
  ListenId listener_;
  uint64_t token_ = 0;
  std::optional<MacKey> key_;
  TimeNs now_{};
  bool ordered_ = false;
  bool lied_ = false;
  bool closed_ = false;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Script script(std::span(data, std::min<size_t>(size, 400)));
  Session session(script);
  session.run();
  return 0;
}
