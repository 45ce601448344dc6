#include "transports/baselines/model_comm.h"

#include <algorithm>
#include <utility>

#include "emulator/base/random.h"

namespace farspan::baselines {

using transport::CommState;
using transport::Completion;
using transport::Event;
using transport::Path;
using transport::Progress;
using transport::Reason;
using transport::Route;

uint64_t ModelContext::random() {
  return Draw({config.seed}, RandomPurpose::kTransport, draws++).lo;
}

std::unique_ptr<Path> ModelContext::new_path(const Route& route, TimeNs rtt,
                                             uint32_t header_bytes) {
  transport::ControllerConfig controller = config.controller;
  controller.packet_bytes = config.payload_bytes + header_bytes + kFramingBytes;
  controller.initial_rtt = rtt;
  controller.max_window = uint64_t{config.window_packets} * controller.packet_bytes;
  controller.seed = random();
  return std::make_unique<Path>(route, make_controller(controller), rtt);
}

Path* ModelContext::shared_path(const Route& route, TimeNs rtt, uint32_t header_bytes) {
  for (const auto& path : paths) {
    if (path->route().peer == route.peer && path->route().local == route.local) return path.get();
  }
  paths.push_back(new_path(route, rtt, header_bytes));
  return paths.back().get();
}

ModelComm::ModelComm(ModelContext& context, const CommSetup& setup)
    : context_(context), setup_(setup), requests_(context.config.max_requests) {}

std::optional<uint64_t> ModelComm::post(TimeNs now, const transport::Buffer& buffer, uint32_t tag) {
  if (state_ != CommState::kReady || request(posted_).in_use) return std::nullopt;
  request(posted_) = {buffer, tag, true, {}};
  stale_ = true;
  const uint64_t number = posted_++;
  on_posted(now);
  return number;
}

Completion ModelComm::test(uint64_t number) {
  Request& asked = request(number);
  if (asked.completion.progress != Progress::kPending) asked.in_use = false;
  return asked.completion;
}

void ModelComm::complete(uint64_t number, uint64_t bytes) {
  request(number).completion = {Progress::kDone, bytes};
  context_.events.push({Event::Kind::kDone, setup_.own});
}

void ModelComm::fail_requests() {
  for (Request& pending : requests_) {
    if (pending.completion.progress == Progress::kPending) {
      pending.completion.progress = Progress::kFailed;
    }
  }
}

void ModelComm::on_arrival(const Arrival& arrival) {
  stale_ = true;
  const Head& head = arrival.head;
  if (head.kind == Kind::kClosed) {
    gone_ = closing_;
    closes_left_ = 0;
    close_at_ = kNever;
  } else if (head.kind == Kind::kClose) {
    send_control({.kind = Kind::kClosed}, {});
    gone_ = gone_ || closing_;
    if (state_ != CommState::kReady || peer_closed_) return;
    peer_closed_ = true;
    uint32_t reason = 0;
    if (arrival.read(reason) && reason < static_cast<uint32_t>(Reason::kCount)) {
      close_reason_ = static_cast<Reason>(reason);
    }
    if (!unread()) end_after_peer();
  } else if (active()) {
    on_packet(arrival);
  }
}

void ModelComm::end_after_peer() {
  const bool pending = std::any_of(requests_.begin(), requests_.end(), [](const Request& r) {
    return r.in_use && r.completion.progress == Progress::kPending;
  });
  const bool surprised = pending || close_reason_ != Reason::kNone;
  state_ = surprised ? CommState::kFailed : CommState::kClosed;
  failure_ = std::string(transport::ToText(close_reason_));
  fail_requests();
  context_.events.push({Event::Kind::kFailed, setup_.own});
}

void ModelComm::on_timeout(TimeNs now) {
  if (next_deadline() > now) return;
  stale_ = true;
  if (close_at_ <= now) send_close(now);
  if (active()) on_deadline(now);
}

void ModelComm::compute_deadline() const {
  stale_ = false;
  freed_seen_ = context_.freed;
  deadline_ = active() ? std::min(close_at_, own_deadline()) : close_at_;
  if (!control_.empty()) deadline_ = {INT64_MIN};
}

bool ModelComm::transmit(TimeNs now, TimeNs horizon, transport::TxSlot& slot) {
  if (next_deadline() > horizon) return false;
  stale_ = true;
  if (control_.empty()) {
    slot.trailer_bytes = 0;
    slot.id = 0;
    slot.ecn_capable = false;
    return active() && transmit_data(now, horizon, slot);
  }
  slot = control_.front();
  slot.tx_time = now;
  control_.pop_front();
  ++context_.counters.control_sent;
  return true;
}

void ModelComm::address(Head head, std::span<const uint8_t> body, transport::TxSlot& slot) const {
  head.comm = setup_.peer;
  Compose(head, body, slot);
  slot.route = route(head.stream);
}

void ModelComm::send_control(const Head& head, std::span<const uint8_t> body) {
  Head addressed = head;
  addressed.comm = setup_.peer;
  control_.push_back(ControlSlot(addressed, body, route(head.stream)));
}

void ModelComm::send_close(TimeNs now) {
  if (!flushed()) {
    close_at_ = now + TimeNs{1'000'000};
    return;
  }
  if (closes_left_ == 0) {
    gone_ = closing_;
    close_at_ = kNever;
    return;
  }
  --closes_left_;
  send_control({.kind = Kind::kClose}, BodyOf(static_cast<uint32_t>(close_reason_)));
  close_at_ = now + TimeNs{std::max<int64_t>(2 * setup_.rtt.ns, 100'000'000)};
}

void ModelComm::fail(TimeNs now, std::string why, Reason reason) {
  if (!active()) return;
  state_ = CommState::kFailed;
  failure_ = std::move(why);
  fail_requests();
  context_.events.push({Event::Kind::kFailed, setup_.own});
  close_reason_ = reason;
  closes_left_ = 5;
  send_close(now);
}

void ModelComm::close(TimeNs now) {
  if (closing_) return;
  stale_ = closing_ = true;
  if (state_ == CommState::kReady && !peer_closed_) {
    state_ = CommState::kClosed;
    fail_requests();
    closes_left_ = 5;
    send_close(now);
  } else if (close_at_ == kNever) {
    gone_ = true;
  }
}

}  // namespace farspan::baselines
