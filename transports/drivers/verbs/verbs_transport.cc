#include "transports/drivers/verbs/verbs_transport.h"

#include <fmt/format.h>
#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "transports/drivers/verbs/ud_address.h"

namespace farspan::verbs {
namespace {

using transport::RxView;
using transport::TxSlot;

constexpr size_t kHandlesMax = 256;
constexpr uint32_t kMtuMin = 1024;  // a header with all its gaps is half of it
constexpr uint8_t kEct0 = 2;        // of the traffic class
constexpr uint8_t kHopLimit = 64;
constexpr TimeNs kResolve{100'000'000};  // that connect() may wait for a peer's address

}  // namespace

VerbsTransport::VerbsTransport(Device device, std::unique_ptr<transport::Endpoint> endpoint,
                               const transport::Properties& properties)
    : DatagramTransport(std::move(endpoint), properties), device_(std::move(device)) {}

Result<std::unique_ptr<VerbsTransport>> VerbsTransport::Open(
    Device device, std::unique_ptr<transport::Endpoint> endpoint,
    const transport::Properties& properties) {
  if (device.mtu_bytes() < kMtuMin) {
    return Fail(
        ErrorCode::kMachine,
        fmt::format("{}'s path MTU is {} B: expected {} B or more; raise its interface's MTU",
                    device.name(), device.mtu_bytes(), kMtuMin));
  }
  std::unique_ptr<VerbsTransport> made(
      new VerbsTransport(std::move(device), std::move(endpoint), properties));
  if (auto done = made->set_up(); !done) return tl::unexpected(done.error());
  return made;
}

Result<void> VerbsTransport::set_up() {
  const size_t mtu = device_.mtu_bytes();
  send_memory_.resize(kSlots * mtu);
  receive_memory_.resize(kReceives * (kGrhBytes + mtu));
  const auto take = [](auto& member, auto&& made) -> Result<void> {
    if (!made) return tl::unexpected(made.error());
    member = std::move(*made);
    return {};
  };
  auto done = take(channel_, device_.make_channel());
  if (done) done = take(send_queue_, device_.make_queue(kSlots, channel_.get()));
  if (done) done = take(receive_queue_, device_.make_queue(kReceives, channel_.get()));
  if (done) {
    done = take(send_region_, device_.register_memory(send_memory_.data(), send_memory_.size(), 0));
  }
  if (done) {
    done = take(receive_region_,
                device_.register_memory(receive_memory_.data(), receive_memory_.size(),
                                        IBV_ACCESS_LOCAL_WRITE));
  }
  if (done) done = make_queue_pair();
  if (!done) return done;
  sends_ = std::make_unique<SendRing>(send_memory_, mtu, send_region_->lkey);
  handles_ = std::make_unique<AddressHandles>(
      [this](const Gid& to, bool ecn_capable) { return make_handle(to, ecn_capable); },
      [](ibv_ah* handle) { ibv_destroy_ah(handle); }, kHandlesMax);
  lay_out_receives();
  return {};
}

Result<void> VerbsTransport::make_queue_pair() {
  ibv_qp_init_attr wanted{};
  wanted.send_cq = send_queue_.get();
  wanted.recv_cq = receive_queue_.get();
  wanted.qp_type = IBV_QPT_UD;
  wanted.cap = {kSlots, kReceives, 1, 1, 0};
  pair_.reset(ibv_create_qp(device_.domain(), &wanted));
  if (pair_ == nullptr) {
    return VerbsError(fmt::format("{} gives no UD queue pair", device_.name()));
  }
  ibv_qp_attr attributes{};
  attributes.qkey = kQueueKey;
  attributes.port_num = device_.port();
  const auto to = [&](ibv_qp_state state, int mask) {
    attributes.qp_state = state;
    return ibv_modify_qp(pair_.get(), &attributes, IBV_QP_STATE | mask) == 0;
  };
  if (!to(IBV_QPS_INIT, IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_QKEY) || !to(IBV_QPS_RTR, 0) ||
      !to(IBV_QPS_RTS, IBV_QP_SQ_PSN)) {
    return VerbsError(fmt::format("{}'s UD queue pair does not start", device_.name()));
  }
  return {};
}

void VerbsTransport::lay_out_receives() {
  const uint32_t bytes = device_.mtu_bytes() + kGrhBytes;
  receive_pieces_.resize(kReceives);
  receives_.resize(kReceives);
  std::array<ibv_wc, 1> all{};
  for (size_t i = 0; i < kReceives; ++i) {
    receive_pieces_[i] = {reinterpret_cast<uintptr_t>(receive_memory_.data() + i * bytes), bytes,
                          receive_region_->lkey};
    receives_[i] = {i, nullptr, &receive_pieces_[i], 1};
    all[0].wr_id = i;
    post_receives(all);
  }
}

ibv_ah* VerbsTransport::make_handle(const Gid& to, bool ecn_capable) const {
  ibv_ah_attr attributes{};
  std::memcpy(attributes.grh.dgid.raw, to.data(), to.size());
  attributes.grh.sgid_index = device_.gid_index();
  attributes.grh.hop_limit = kHopLimit;
  attributes.grh.traffic_class = ecn_capable ? kEct0 : 0;
  attributes.is_global = 1;
  attributes.port_num = device_.port();
  return ibv_create_ah(device_.domain(), &attributes);
}

transport::Address VerbsTransport::address(size_t) const {
  return ToCore({device_.gid(), pair_->qp_num});
}

bool VerbsTransport::is_address(const transport::Address& address) const {
  return IsUdAddress(address);
}

void VerbsTransport::prepare(const transport::Address& address) {
  handles_->prepare(FromCore(address).gid, kResolve);
}

bool VerbsTransport::receive(TimeNs now) {
  const bool more = take_received(now);
  if (!broken_.empty()) {
    poll_sends();  // for the cause, where the receives were only flushed
    endpoint().on_trouble(now, {nullptr, broken_, true});
    told_ = true;
  }
  return more;
}

bool VerbsTransport::take_received(TimeNs now) {
  std::array<ibv_wc, kBatch> completions;
  std::array<RxView, kBatch> views;
  const int count = ibv_poll_cq(receive_queue_.get(), kBatch, completions.data());
  if (count <= 0) return false;
  size_t viewed = 0, whole = 0;
  for (int i = 0; i < count; ++i) {
    const ibv_wc& one = completions[static_cast<size_t>(i)];
    if (one.status != IBV_WC_SUCCESS) {
      on_failed(one);
      continue;
    }
    if (view(one, now, views[viewed])) ++viewed;
    completions[whole++] = one;
  }
  if (viewed > 0) endpoint().on_datagrams(now, std::span(views.data(), viewed));
  post_receives(std::span(completions.data(), whole));
  return true;
}

bool VerbsTransport::view(const ibv_wc& completion, TimeNs now, RxView& view) const {
  if (completion.byte_len < kGrhBytes) return false;
  const auto* bytes = reinterpret_cast<const uint8_t*>(receive_pieces_[completion.wr_id].addr);
  const std::span<const uint8_t, kGrhBytes> header(bytes, kGrhBytes);
  view = {};
  view.at = now;
  view.route = {ToCore({SourceOf(header), completion.src_qp}), 0};
  view.bytes = {bytes + kGrhBytes, completion.byte_len - kGrhBytes};
  view.ecn_marked = IsMarked(header);
  return true;
}

// Posts the buffers of these completions again, as one chain.
void VerbsTransport::post_receives(std::span<const ibv_wc> taken) {
  if (taken.empty()) return;
  for (size_t i = 0; i < taken.size(); ++i) {
    receives_[taken[i].wr_id].next =
        i + 1 < taken.size() ? &receives_[taken[i + 1].wr_id] : nullptr;
  }
  ibv_recv_wr* refused = nullptr;
  const int error = ibv_post_recv(pair_.get(), &receives_[taken[0].wr_id], &refused);
  if (error != 0 && broken_.empty()) {
    broken_ = fmt::format("queue pair {} of {} takes no receive: {}", pair_->qp_num, device_.name(),
                          std::strerror(error));
  }
}

size_t VerbsTransport::transmit(std::span<const TxSlot> slots) {
  poll_sends();
  if (!broken_.empty()) return slots.size();
  size_t taken = 0;
  while (taken < slots.size() && sends_->room() > 0) {
    const TxSlot& slot = slots[taken];
    const UdAddress to = FromCore(slot.route.peer);
    const auto found = handles_->find(to.gid, slot.ecn_capable, sends_->last() + 1, sends_->done());
    if (found.outcome == AddressHandles::Outcome::kAllBusy) break;
    ++taken;
    if (found.handle == nullptr) {
      ++counters_.no_way;  // as if it were lost on its way
      if (found.outcome == AddressHandles::Outcome::kNoWay) on_no_way(slot.route, found.error);
      continue;
    }
    sends_->add(slot, found.handle, to.queue_pair);
  }
  if (ibv_send_wr* chain = sends_->take(); chain != nullptr) {
    ibv_send_wr* refused = nullptr;
    if (const int error = ibv_post_send(pair_.get(), chain, &refused); error != 0) {
      broken_ = fmt::format("queue pair {} of {} takes no datagram: {}", pair_->qp_num,
                            device_.name(), std::strerror(error));
    }
  }
  return taken;
}

void VerbsTransport::on_no_way(const transport::Route& route, int error) {
  const std::string why =
      fmt::format("{} finds no way to {}: {} (ip neigh, ip route get)", device_.name(),
                  ToText(FromCore(route.peer).gid), std::strerror(error));
  endpoint().on_trouble(now(), {&route, why, false});
}

// The first tells, but for what was flushed: that follows from an error that the other queue may
// tell.
void VerbsTransport::on_failed(const ibv_wc& completion) {
  const bool flushed = completion.status == IBV_WC_WR_FLUSH_ERR;
  if (!broken_.empty() && (flushed || !flushed_)) return;
  broken_ = device_.explain(completion);
  flushed_ = flushed;
}

void VerbsTransport::poll_sends() {
  std::array<ibv_wc, kBatch> completions;
  int count;
  while ((count = ibv_poll_cq(send_queue_.get(), kBatch, completions.data())) > 0) {
    for (int i = 0; i < count; ++i) {
      const ibv_wc& one = completions[static_cast<size_t>(i)];
      if (one.status != IBV_WC_SUCCESS) on_failed(one);
      sends_->completed(std::max(sends_->done(), one.wr_id));
    }
  }
}

// True where it was not: the caller looks once more.
bool VerbsTransport::arm(ibv_cq* queue, bool& is_armed) {
  if (is_armed) return false;
  const int error = ibv_req_notify_cq(queue, 0);
  is_armed = error == 0;
  if (error != 0) {
    broken_ = fmt::format("{} notifies of no completion: {}", device_.name(), std::strerror(error));
  }
  return true;
}

// What completed before a queue was armed does not notify: the first call arms and returns, so that
// the caller looks once more; the next one sleeps.
void VerbsTransport::wait(TimeNs until, bool for_room) {
  bool look_again = !broken_.empty() && !told_;
  if (broken_.empty()) look_again |= arm(receive_queue_.get(), receive_armed_);
  if (broken_.empty() && for_room) look_again |= arm(send_queue_.get(), send_armed_);
  if (look_again) return;
  pollfd watched{channel_->fd, POLLIN, 0};
  const int64_t ns = until == kNever ? 0 : std::max<int64_t>((until - now()).ns, 0);
  const timespec at_most{ns / 1'000'000'000, ns % 1'000'000'000};
  if (ppoll(&watched, 1, until == kNever ? nullptr : &at_most, nullptr) > 0) take_notifications();
}

void VerbsTransport::take_notifications() {
  ibv_cq* queue = nullptr;
  void* context = nullptr;
  while (ibv_get_cq_event(channel_.get(), &queue, &context) == 0) {
    ibv_ack_cq_events(queue, 1);
    (queue == receive_queue_.get() ? receive_armed_ : send_armed_) = false;
  }
}

}  // namespace farspan::verbs
