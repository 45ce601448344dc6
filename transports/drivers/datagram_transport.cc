#include "transports/drivers/datagram_transport.h"

#include <algorithm>
#include <cstring>

#include "emulator/base/check.h"

namespace farspan::transport {
namespace {

// A handle: token 8, number of paths 4, for each the size of its address 1 and its bytes 28.
constexpr size_t kPathsAt = 12, kPathBytes = 29;
static_assert(kPathsAt + DatagramTransport::kMaxPaths * kPathBytes <= kHandleBytes);

constexpr TimeNs kDrainStep{1'000'000};
constexpr uint32_t kHearing = 16;  // calls of receive() that timers wait for

}  // namespace

DatagramTransport::DatagramTransport(std::unique_ptr<Endpoint> endpoint,
                                     const Properties& properties)
    : endpoint_(std::move(endpoint)), properties_(properties) {}

Result<ListenId> DatagramTransport::listen(Handle& handle) {
  uint64_t token = 0;
  auto listener = endpoint_->listen(token);
  if (!listener) return listener;
  const auto count = static_cast<uint32_t>(paths());
  handle = {};
  std::memcpy(handle.data(), &token, sizeof token);
  std::memcpy(handle.data() + 8, &count, sizeof count);
  for (size_t i = 0; i < count; ++i) {
    const Address one = address(i);
    uint8_t* at = handle.data() + kPathsAt + i * kPathBytes;
    FARSPAN_CHECK(one.size <= one.bytes.size());
    at[0] = static_cast<uint8_t>(one.size);
    std::memcpy(at + 1, one.bytes.data(), one.size);
  }
  return listener;
}

Result<CommId> DatagramTransport::connect(const Handle& handle) {
  const auto wrong = [&] {
    return Fail(ErrorCode::kInvalid, "this is not the handle of such a listener");
  };
  uint64_t token = 0;
  uint32_t count = 0;
  std::memcpy(&token, handle.data(), sizeof token);
  std::memcpy(&count, handle.data() + 8, sizeof count);
  if (count == 0 || count > kMaxPaths) return wrong();
  count = static_cast<uint32_t>(std::min<size_t>(count, paths()));
  std::array<Route, kMaxPaths> routes;
  for (uint32_t i = 0; i < count; ++i) {
    const uint8_t* at = handle.data() + kPathsAt + i * kPathBytes;
    Address& peer = routes[i].peer;
    if (at[0] > peer.bytes.size()) return wrong();
    peer.size = at[0];
    std::memcpy(peer.bytes.data(), at + 1, peer.size);
    if (!is_address(peer)) return wrong();
    prepare(peer);
    routes[i].local = i;
  }
  return endpoint_->connect(now(), token, std::span(routes.data(), count));
}

std::optional<RequestId> DatagramTransport::post_send(CommId comm, const Buffer& buffer,
                                                      uint32_t tag) {
  return endpoint_->post_send(now(), comm, buffer, tag);
}

std::optional<RequestId> DatagramTransport::post_recv(CommId comm, const Buffer& buffer,
                                                      uint32_t tag) {
  return endpoint_->post_recv(now(), comm, buffer, tag);
}

// The user may free a buffer from here on.
Completion DatagramTransport::test(RequestId request) {
  const Completion completion = endpoint_->test(request);
  if (completion.progress != Progress::kPending) keep_payloads();
  return completion;
}

void DatagramTransport::close(CommId comm) {
  keep_payloads();
  endpoint_->close(now(), comm);
}

void DatagramTransport::keep_payloads() {
  if (begin_ == end_ || kept_ != nullptr) return;
  size_t bytes = 0;
  for (size_t i = begin_; i < end_; ++i) bytes += slots_[i].payload.bytes;
  kept_ = std::make_unique_for_overwrite<uint8_t[]>(bytes);
  uint8_t* to = kept_.get();
  for (size_t i = begin_; i < end_; ++i) {
    PayloadRef& payload = slots_[i].payload;
    if (payload.bytes == 0) continue;
    std::memcpy(to, payload.data, payload.bytes);
    payload.data = to;
    to += payload.bytes;
  }
}

void DatagramTransport::progress(TimeNs until) {
  while (true) {
    TimeNs at = now();
    const bool more = receive(at);
    at = now();
    // No timer may take for silence what waits to be heard since this host stood still.
    heard_ = more ? heard_ + 1 : 0;
    if (heard_ % kHearing == 0 && endpoint_->next_deadline() <= at) endpoint_->on_timeout(at);
    send(at);
    bool told = false;
    while (endpoint_->poll_event()) told = true;
    if (told && listener_ != nullptr) listener_->on_progress();
    if (told || at >= until) return;
    if (more) continue;
    const bool blocked = begin_ < end_;
    wait(blocked ? until : std::clamp(endpoint_->next_deadline(), at, until), blocked);
  }
}

void DatagramTransport::drain(TimeNs until) {
  while ((begin_ < end_ || !endpoint_->all_told()) && now() < until) {
    progress(std::min(until, now() + kDrainStep));  // that a peer knows is no event
  }
}

void DatagramTransport::send(TimeNs now) {
  while (true) {
    if (begin_ == end_) {
      kept_.reset();
      begin_ = 0;
      end_ = endpoint_->poll_transmit(now, now + kTrainTime, slots_);
      if (end_ == 0) return;
    }
    const size_t before = begin_;
    begin_ += transmit(std::span(slots_).subspan(begin_, end_ - begin_));
    size_t told = 0;
    for (size_t i = before; i < begin_; ++i) {
      if (slots_[i].id != 0) sent_[told++] = {slots_[i].id, now};
    }
    if (told > 0) endpoint_->on_sent(now, std::span(sent_.data(), told));
    if (begin_ < end_) return;
  }
}

}  // namespace farspan::transport
