#include "transports/drivers/udp/udp_transport.h"

#include <fmt/format.h>
#include <poll.h>

#include <algorithm>
#include <cstring>

#include "emulator/base/check.h"

namespace farspan::udp {
namespace {

using transport::CommId;
using transport::ListenId;
using transport::RequestId;
using transport::RxView;
using transport::TxSlot;

constexpr size_t kReceiveBatch = 32;

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

// A handle: token 8, number of paths 4, one address for each.
struct HandleContents {
  uint64_t token = 0;
  uint32_t paths = 0;
  std::array<transport::Address, UdpTransport::kMaxPaths> addresses;
};
static_assert(UdpTransport::kMaxPaths * 28 + 12 <= transport::kHandleBytes);

transport::Handle Pack(const HandleContents& contents) {
  transport::Handle handle{};
  std::memcpy(handle.data(), &contents.token, 8);
  std::memcpy(handle.data() + 8, &contents.paths, 4);
  for (uint32_t i = 0; i < contents.paths; ++i) {
    std::memcpy(handle.data() + 12 + 28 * i, contents.addresses[i].bytes.data(), 28);
  }
  return handle;
}

Result<HandleContents> Unpack(const transport::Handle& handle) {
  HandleContents contents;
  std::memcpy(&contents.token, handle.data(), 8);
  std::memcpy(&contents.paths, handle.data() + 8, 4);
  if (contents.paths == 0 || contents.paths > UdpTransport::kMaxPaths) {
    return Fail(ErrorCode::kInvalid, "this is not the handle of a UDP listener");
  }
  for (uint32_t i = 0; i < contents.paths; ++i) {
    transport::Address& address = contents.addresses[i];
    std::memcpy(address.bytes.data(), handle.data() + 12 + 28 * i, 28);
    sa_family_t family;
    std::memcpy(&family, address.bytes.data(), sizeof family);
    address.size = family == AF_INET6 ? 28 : 16;
  }
  return contents;
}

bool SameTrain(const TxSlot& first, const TxSlot& next) {
  return first.route.local == next.route.local && first.route.peer == next.route.peer &&
         first.ecn_capable == next.ecn_capable && next.bytes() <= first.bytes();
}

}  // namespace

UdpTransport::UdpTransport(std::unique_ptr<transport::Endpoint> endpoint,
                           const transport::Properties& properties, bool gso)
    : endpoint_(std::move(endpoint)), properties_(properties), gso_(gso) {}

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

Result<ListenId> UdpTransport::listen(transport::Handle& handle) {
  HandleContents contents;
  auto listener = endpoint_->listen(contents.token);
  if (!listener) return listener;
  contents.paths = static_cast<uint32_t>(sockets_.size());
  for (size_t i = 0; i < sockets_.size(); ++i) contents.addresses[i] = ToCore(sockets_[i].local());
  handle = Pack(contents);
  return listener;
}

void UdpTransport::stop_listening(ListenId listener) { endpoint_->stop_listening(listener); }

std::optional<CommId> UdpTransport::accept(ListenId listener) {
  return endpoint_->accept(listener);
}

Result<CommId> UdpTransport::connect(const transport::Handle& handle) {
  const auto contents = Unpack(handle);
  if (!contents) return tl::unexpected(contents.error());
  const size_t paths = std::min<size_t>(contents->paths, sockets_.size());
  std::array<transport::Route, kMaxPaths> routes;
  for (uint32_t i = 0; i < paths; ++i) routes[i] = {contents->addresses[i], i};
  return endpoint_->connect(now(), contents->token, std::span(routes.data(), paths));
}

transport::CommState UdpTransport::state(CommId comm) const { return endpoint_->state(comm); }

std::string_view UdpTransport::failure(CommId comm) const { return endpoint_->failure(comm); }

void UdpTransport::close(CommId comm) { endpoint_->close(now(), comm); }

std::optional<RequestId> UdpTransport::post_send(CommId comm, const transport::Buffer& buffer,
                                                 uint32_t tag) {
  return endpoint_->post_send(now(), comm, buffer, tag);
}

std::optional<RequestId> UdpTransport::post_recv(CommId comm, const transport::Buffer& buffer,
                                                 uint32_t tag) {
  return endpoint_->post_recv(now(), comm, buffer, tag);
}

transport::Completion UdpTransport::test(RequestId request) { return endpoint_->test(request); }

void UdpTransport::progress(TimeNs until) {
  while (true) {
    TimeNs at = now();
    const bool busy = receive(at);
    at = now();
    if (endpoint_->next_deadline() <= at) endpoint_->on_timeout(at);
    send(at);
    bool told = false;
    while (endpoint_->poll_event()) told = true;
    if (told && listener_ != nullptr) listener_->on_progress();
    if (told || at >= until) return;
    if (busy) continue;
    const bool blocked = begin_ < end_;
    wait(blocked ? until : std::min(until, endpoint_->next_deadline()), blocked);
  }
}

bool UdpTransport::receive(TimeNs now) {
  bool any = false;
  std::array<Arrival, kReceiveBatch> arrivals;
  std::array<RxView, Socket::kSegmentsMax> views;
  for (size_t path = 0; path < sockets_.size(); ++path) {
    const size_t trains = sockets_[path].receive(arrivals);
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
        endpoint_->on_datagrams(now, std::span(views.data(), count));
        count = 0;
      }
    }
    any = any || trains > 0;
  }
  return any;
}

void UdpTransport::send(TimeNs now) {
  while (true) {
    if (begin_ == end_) {
      begin_ = 0;
      end_ = endpoint_->poll_transmit(now, now + kTrainTime, slots_);
      if (end_ == 0) return;
    }
    const size_t before = begin_;
    begin_ = send_from(begin_);
    size_t told = 0;
    for (size_t i = before; i < begin_; ++i) {
      if (slots_[i].id != 0) sent_[told++] = {slots_[i].id, now};
    }
    if (told > 0) endpoint_->on_sent(now, std::span(sent_.data(), told));
    if (begin_ < end_) return;  // the kernel is full
  }
}

// Sends slots from `first` on while the kernel takes them; the first that it has not taken.
size_t UdpTransport::send_from(size_t first) {
  while (first < end_) {
    const size_t trains = build_trains(first);
    const size_t path = slots_[first].route.local;
    size_t same_path = 1;
    while (same_path < trains && slots_[train_slots_[same_path]].route.local == path) ++same_path;
    const size_t sent = sockets_[path].send(std::span(trains_.data(), same_path));
    if (sent == 0) return first;
    first = train_slots_[sent];
  }
  return first;
}

size_t UdpTransport::build_trains(size_t first) {
  size_t trains = 0, part = 0;
  while (first < end_ && trains < trains_.size()) {
    const size_t first_part = part;
    const size_t last = extend_train(first, part);
    destinations_[trains] = FromCore(slots_[first].route.peer);
    train_slots_[trains] = first;
    trains_[trains] = {&destinations_[trains],
                       {parts_.data() + first_part, part - first_part},
                       static_cast<uint16_t>(slots_[first].bytes()),
                       slots_[first].ecn_capable ? Ecn::kEct0 : Ecn::kNotEct};
    ++trains;
    first = last;
  }
  train_slots_[trains] = first;
  return trains;
}

// Lays out the slots of one train; the first slot after it.
size_t UdpTransport::extend_train(size_t first, size_t& part) {
  const size_t most =
      gso_ ? std::min(sockets_[slots_[first].route.local].segments_max(),
                      Socket::kTrainBytesMax / std::max<size_t>(slots_[first].bytes(), 1))
           : 1;
  size_t at = first;
  while (at < end_ && at - first < std::max<size_t>(most, 1)) {
    const TxSlot& slot = slots_[at];
    const bool ends = slot.bytes() < slots_[first].bytes();
    if (at > first && !SameTrain(slots_[first], slot)) break;
    parts_[part++] = {const_cast<uint8_t*>(slot.header.data()), slot.header_bytes};
    if (slot.payload.bytes > 0) {
      parts_[part++] = {const_cast<uint8_t*>(slot.payload.data), slot.payload.bytes};
    }
    if (slot.trailer_bytes > 0) {
      parts_[part++] = {const_cast<uint8_t*>(slot.trailer.data()), slot.trailer_bytes};
    }
    ++at;
    if (ends) break;
  }
  return at;
}

void UdpTransport::wait(TimeNs until, bool for_room) const {
  std::array<pollfd, kMaxPaths> watched;
  for (size_t i = 0; i < sockets_.size(); ++i) {
    watched[i] = {sockets_[i].descriptor(), static_cast<short>(POLLIN | (for_room ? POLLOUT : 0)),
                  0};
  }
  const int64_t ns = until == kNever ? 0 : std::max<int64_t>((until - now()).ns, 0);
  const timespec at_most{ns / 1'000'000'000, ns % 1'000'000'000};
  ppoll(watched.data(), sockets_.size(), until == kNever ? nullptr : &at_most, nullptr);
}

}  // namespace farspan::udp
