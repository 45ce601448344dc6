#include "transports/drivers/udp/udp_transport.h"

#include <fmt/format.h>
#include <netinet/in.h>
#include <poll.h>

#include <algorithm>
#include <cstring>

#include "emulator/base/check.h"

namespace farspan::udp {
namespace {

using transport::RxView;
using transport::TxSlot;

constexpr size_t kReceiveBatch = 32;
constexpr TimeNs kTellAgain{100'000'000};

transport::Address ToCore(const Address& address) {
  transport::Address out;
  FARSPAN_CHECK(address.length <= out.bytes.size());
  std::memcpy(out.bytes.data(), &address.storage, address.length);
  out.size = address.length;
  return out;
}

Address FromCore(const transport::Address& address) {
  Address out;
  std::memcpy(&out.storage, address.bytes.data(), address.size);
  out.length = address.size;
  return out;
}

bool SameTrain(const TxSlot& first, const TxSlot& next) {
  return first.route.local == next.route.local && first.route.peer == next.route.peer &&
         first.ecn_capable == next.ecn_capable && next.bytes() <= first.bytes();
}

}  // namespace

UdpTransport::UdpTransport(std::unique_ptr<transport::Endpoint> endpoint,
                           const transport::Properties& properties, bool gso)
    : DatagramTransport(std::move(endpoint), properties), gso_(gso) {}

Result<std::unique_ptr<UdpTransport>> UdpTransport::Open(
    const UdpConfig& config, std::unique_ptr<transport::Endpoint> endpoint,
    const transport::Properties& properties) {
  if (config.local.empty() || config.local.size() > kMaxPaths) {
    return Fail(ErrorCode::kInvalid,
                fmt::format("{} local addresses: expected 1 to {}, one per path",
                            config.local.size(), kMaxPaths));
  }
  std::unique_ptr<UdpTransport> made(new UdpTransport(std::move(endpoint), properties, config.gso));
  for (const Address& local : config.local) {
    auto socket = Socket::Open(local, config.socket);
    if (!socket) return tl::unexpected(socket.error());
    made->sockets_.push_back(std::move(*socket));
  }
  return made;
}

transport::Address UdpTransport::address(size_t path) const {
  return ToCore(sockets_[path].local());
}

bool UdpTransport::is_address(const transport::Address& address) const {
  const sa_family_t family = FromCore(address).storage.ss_family;
  return (family == AF_INET && address.size == sizeof(sockaddr_in)) ||
         (family == AF_INET6 && address.size == sizeof(sockaddr_in6));
}

bool UdpTransport::receive(TimeNs now) {
  bool more = false;
  std::array<Arrival, kReceiveBatch> arrivals;
  std::array<RxView, Socket::kSegmentsMax> views;
  for (size_t path = 0; path < sockets_.size(); ++path) {
    const size_t trains = sockets_[path].receive(arrivals);
    tell_refusal(path);
    for (size_t i = 0; i < trains; ++i) {
      auto rest = std::as_bytes(arrivals[i].bytes);
      const transport::Route route{ToCore(*arrivals[i].from), static_cast<uint32_t>(path)};
      size_t count = 0;
      while (!rest.empty()) {
        const size_t bytes = std::min<size_t>(arrivals[i].segment_bytes, rest.size());
        RxView& view = views[count++];
        view = {};
        view.at = now;
        view.route = route;
        view.bytes = {reinterpret_cast<const uint8_t*>(rest.data()), bytes};
        view.ecn_marked = arrivals[i].ecn == Ecn::kCe;
        rest = rest.subspan(bytes);
        if (count < views.size() && !rest.empty()) continue;
        endpoint().on_datagrams(now, std::span(views.data(), count));
        count = 0;
      }
    }
    more = more || trains == arrivals.size();
  }
  return more;
}

size_t UdpTransport::transmit(std::span<const TxSlot> slots) {
  size_t first = 0;
  while (first < slots.size()) {
    const auto rest = slots.subspan(first);
    const size_t trains = build_trains(rest);
    const size_t path = rest[0].route.local;
    size_t same_path = 1;
    while (same_path < trains && rest[train_slots_[same_path]].route.local == path) ++same_path;
    const size_t sent = sockets_[path].send(std::span(trains_.data(), same_path));
    tell_refusal(path);
    if (sent == 0) {
      full_ = path;
      break;
    }
    first += train_slots_[sent];
  }
  return first;
}

// Of one kind, not more often than a person can read.
void UdpTransport::tell_refusal(size_t path) {
  const auto refusal = sockets_[path].take_refusal();
  if (!refusal) return;
  const TimeNs at = now();
  const bool same = refusal->error == told_.error && refusal->to == told_.to;
  if (same && at - told_at_ < kTellAgain) return;
  told_ = *refusal;
  told_at_ = at;
  const transport::Route route{ToCore(refusal->to), static_cast<uint32_t>(path)};
  const bool for_good = IsForGood(*refusal);
  const std::string why = Explain(*refusal, FindMtu(sockets_[path].local(), refusal->to));
  endpoint().on_trouble(at, {&route, why, for_good});
}

size_t UdpTransport::build_trains(std::span<const TxSlot> slots) {
  size_t trains = 0, part = 0, first = 0;
  while (first < slots.size() && trains < trains_.size()) {
    const TxSlot& slot = slots[first];
    const size_t first_part = part;
    destinations_[trains] = FromCore(slot.route.peer);
    train_slots_[trains] = first;
    first += extend_train(slots.subspan(first), part);
    trains_[trains] = {&destinations_[trains],
                       {parts_.data() + first_part, part - first_part},
                       static_cast<uint16_t>(slot.bytes()),
                       slot.ecn_capable ? Ecn::kEct0 : Ecn::kNotEct};
    ++trains;
  }
  train_slots_[trains] = first;
  return trains;
}

// Lays out the train that begins with the first slot; how many slots it takes.
size_t UdpTransport::extend_train(std::span<const TxSlot> slots, size_t& part) {
  const TxSlot& first = slots[0];
  const size_t most = gso_ ? std::min(sockets_[first.route.local].segments_max(),
                                      Socket::kTrainBytesMax / std::max<size_t>(first.bytes(), 1))
                           : 1;
  size_t at = 0;
  while (at < slots.size() && at < std::max<size_t>(most, 1)) {
    const TxSlot& slot = slots[at];
    if (at > 0 && !SameTrain(first, slot)) break;
    parts_[part++] = {const_cast<uint8_t*>(slot.header.data()), slot.header_bytes};
    if (slot.payload.bytes > 0) {
      parts_[part++] = {const_cast<uint8_t*>(slot.payload.data), slot.payload.bytes};
    }
    if (slot.trailer_bytes > 0) {
      parts_[part++] = {const_cast<uint8_t*>(slot.trailer.data()), slot.trailer_bytes};
    }
    ++at;
    if (slot.bytes() < first.bytes()) break;
  }
  return at;
}

void UdpTransport::wait(TimeNs until, bool for_room) {
  std::array<pollfd, kMaxPaths> watched;
  for (size_t i = 0; i < sockets_.size(); ++i) {
    const bool full = for_room && i == full_;
    watched[i] = {sockets_[i].descriptor(), static_cast<short>(POLLIN | (full ? POLLOUT : 0)), 0};
  }
  const int64_t ns = until == kNever ? 0 : std::max<int64_t>((until - now()).ns, 0);
  const timespec at_most{ns / 1'000'000'000, ns % 1'000'000'000};
  if (ppoll(watched.data(), sockets_.size(), until == kNever ? nullptr : &at_most, nullptr) <= 0) {
    return;
  }
  for (size_t i = 0; i < sockets_.size(); ++i) {
    if ((watched[i].revents & POLLERR) != 0 && sockets_[i].read_errors()) tell_refusal(i);
  }
}

}  // namespace farspan::udp
