#include "transports/baselines/rc_queue_pairs.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "emulator/base/check.h"

namespace farspan::baselines {
namespace {

constexpr uint64_t kPartAlign = 128;  // LL128's, says NCCL
constexpr uint8_t kHopLimit = 255;
constexpr uint8_t kMinRnrTimer = 12;
constexpr uint8_t kRnrForEver = 7;

}  // namespace

RcPart PartOf(uint64_t bytes, uint32_t count, uint32_t index) {
  const uint64_t even = (bytes + count - 1) / count;
  const uint64_t size = (even + kPartAlign - 1) / kPartAlign * kPartAlign;
  const uint64_t offset = std::min(bytes, index * size);
  return {offset, std::min(size, bytes - offset)};
}

Result<std::unique_ptr<RcQueuePairs>> RcQueuePairs::Open(const verbs::Device& device, bool sends,
                                                         const RcConfig& config,
                                                         ibv_comp_channel* channel) {
  std::unique_ptr<RcQueuePairs> made(new RcQueuePairs(device, sends, config));
  if (auto done = made->set_up(channel); !done) return tl::unexpected(done.error());
  return made;
}

Result<void> RcQueuePairs::set_up(ibv_comp_channel* channel) {
  // Of every request and every receive that may be outstanding.
  auto queue = device_.make_queue(static_cast<int>(2 * kRcRequests * (parts() + 1)), channel);
  if (!queue) return tl::unexpected(queue.error());
  queue_ = std::move(*queue);
  auto region = device_.register_memory(fifo_.data(), sizeof fifo_,
                                        IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE);
  if (!region) return tl::unexpected(region.error());
  fifo_region_ = std::move(*region);
  ibv_qp_init_attr wanted{};
  wanted.send_cq = wanted.recv_cq = queue_.get();
  wanted.qp_type = IBV_QPT_RC;
  wanted.cap = {2 * kRcRequests, kRcRequests, 1, 1, 0};
  ibv_qp_attr first{};
  first.qp_state = IBV_QPS_INIT;
  first.port_num = device_.port();
  first.qp_access_flags = IBV_ACCESS_REMOTE_WRITE;
  for (uint32_t i = 0; i < config_.queue_pairs; ++i) {
    verbs::QueuePair& pair = pairs_.emplace_back(ibv_create_qp(device_.domain(), &wanted));
    if (pair == nullptr ||
        ibv_modify_qp(pair.get(), &first,
                      IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS) != 0) {
      return verbs::VerbsError(fmt::format("{} gives no RC queue pair", device_.name()));
    }
  }
  return {};
}

RcCard RcQueuePairs::card() const {
  RcCard card;
  card.queue_pairs = config_.queue_pairs;
  card.mtu = device_.mtu();
  card.split = config_.split ? 1 : 0;
  for (size_t i = 0; i < pairs_.size(); ++i) card.numbers[i] = pairs_[i]->qp_num;
  card.gid = device_.gid();
  card.fifo_address = reinterpret_cast<uintptr_t>(fifo_.data());
  card.fifo_key = fifo_region_->rkey;
  return card;
}

Result<void> RcQueuePairs::connect(const RcCard& peer) {
  peer_fifo_ = peer.fifo_address;
  peer_fifo_key_ = peer.fifo_key;
  for (size_t i = 0; i < pairs_.size(); ++i) {
    ibv_qp_attr to{};
    to.qp_state = IBV_QPS_RTR;
    to.path_mtu = std::min(device_.mtu(), static_cast<ibv_mtu>(peer.mtu));
    to.dest_qp_num = peer.numbers[i];
    to.max_dest_rd_atomic = 1;
    to.min_rnr_timer = kMinRnrTimer;
    to.ah_attr.is_global = 1;
    std::memcpy(to.ah_attr.grh.dgid.raw, peer.gid.data(), peer.gid.size());
    to.ah_attr.grh.sgid_index = device_.gid_index();
    to.ah_attr.grh.hop_limit = kHopLimit;
    to.ah_attr.port_num = device_.port();
    const bool receives =
        ibv_modify_qp(pairs_[i].get(), &to,
                      IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN | IBV_QP_RQ_PSN |
                          IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER) == 0;
    to.qp_state = IBV_QPS_RTS;
    to.timeout = static_cast<uint8_t>(config_.timeout);
    to.retry_cnt = static_cast<uint8_t>(config_.retry_count);
    to.rnr_retry = kRnrForEver;
    to.max_rd_atomic = 1;
    if (!receives ||
        ibv_modify_qp(pairs_[i].get(), &to,
                      IBV_QP_STATE | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY |
                          IBV_QP_SQ_PSN | IBV_QP_MAX_QP_RD_ATOMIC) != 0) {
      return verbs::VerbsError(fmt::format("{} cannot connect a queue pair to {}", device_.name(),
                                           verbs::ToText(peer.gid)));
    }
  }
  for (uint32_t i = 0; sends_ && i < kRcRequests; ++i) {
    if (auto done = post_receive(pairs_[0].get(), i); !done) return done;
  }
  return {};
}

Result<void> RcQueuePairs::post_receive(ibv_qp* pair, uint64_t number) {
  ibv_recv_wr request{};
  request.wr_id = number;
  ibv_recv_wr* refused = nullptr;
  errno = ibv_post_recv(pair, &request, &refused);
  if (errno != 0) return verbs::VerbsError("posting a receive");
  return {};
}

Result<std::optional<uint64_t>> RcQueuePairs::post(const transport::Buffer& buffer, uint32_t tag,
                                                   const ibv_mr* region) {
  Message& message = at(posted_);
  if (message.used) return std::optional<uint64_t>{};
  message = {};
  if (region == nullptr && buffer.bytes > 0) {
    auto made = device_.register_memory(buffer.data, buffer.bytes,
                                        IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE);
    if (!made) return tl::unexpected(made.error());
    message.region = std::move(*made);
    region = message.region.get();
  }
  message.buffer = buffer;
  message.tag = tag;
  if (region != nullptr) message.key = sends_ ? region->lkey : region->rkey;
  message.parts_left = parts();
  message.used = true;
  const uint64_t number = posted_++;
  const auto done = sends_ ? write_cleared() : clear(number);
  if (!done) return tl::unexpected(done.error());
  return std::optional<uint64_t>(number);
}

// Tells the sender where a message goes, once its completions have receives to fill.
Result<void> RcQueuePairs::clear(uint64_t number) {
  const Message& message = at(number);
  for (uint32_t part = 0; part < parts(); ++part) {
    if (auto done = post_receive(pair(number, part), number); !done) return done;
  }
  RcClear& entry = fifo_[number % kRcRequests];
  entry = {reinterpret_cast<uintptr_t>(message.buffer.data), message.buffer.bytes, number,
           message.key, message.tag};
  ibv_sge piece{reinterpret_cast<uintptr_t>(&entry), sizeof entry, fifo_region_->lkey};
  ibv_send_wr request{}, *refused = nullptr;
  request.wr_id = number;
  request.sg_list = &piece;
  request.num_sge = 1;
  request.opcode = IBV_WR_RDMA_WRITE_WITH_IMM;
  request.send_flags = IBV_SEND_SIGNALED;
  request.wr.rdma = {peer_fifo_ + number % kRcRequests * sizeof entry, peer_fifo_key_};
  errno = ibv_post_send(pairs_[0].get(), &request, &refused);
  if (errno != 0) return verbs::VerbsError("posting a clear-to-send");
  return {};
}

// Writes what is posted and cleared, in order.
Result<void> RcQueuePairs::write_cleared() {
  for (; written_ < posted_ && written_ < cleared_; ++written_) {
    const RcClear target = fifo_[written_ % kRcRequests];
    const Message& message = at(written_);
    if (target.number != written_) return Fail(ErrorCode::kIo, "the peer contradicted itself");
    if (message.buffer.bytes > target.bytes || message.tag != target.tag) {
      return Fail(ErrorCode::kIo,
                  fmt::format("a message of {} bytes with tag {} met a receive of {} with tag {}",
                              message.buffer.bytes, message.tag, target.bytes, target.tag));
    }
    if (auto done = write(written_, target); !done) return done;
  }
  return {};
}

Result<void> RcQueuePairs::write(uint64_t number, const RcClear& target) {
  Message& message = at(number);
  message.bytes = message.buffer.bytes;
  for (uint32_t i = 0; i < parts(); ++i) {
    const RcPart part = PartOf(message.bytes, parts(), i);
    ibv_sge piece{reinterpret_cast<uintptr_t>(message.buffer.data) + part.offset,
                  static_cast<uint32_t>(part.bytes), message.key};
    ibv_send_wr request{}, *refused = nullptr;
    request.wr_id = number;
    request.sg_list = &piece;
    request.num_sge = part.bytes > 0 ? 1 : 0;
    request.opcode = IBV_WR_RDMA_WRITE_WITH_IMM;
    request.send_flags = IBV_SEND_SIGNALED;
    request.imm_data = static_cast<uint32_t>(message.bytes);
    request.wr.rdma = {target.address + part.offset, target.key};
    errno = ibv_post_send(pair(number, i), &request, &refused);
    if (errno != 0) return verbs::VerbsError("posting a write");
  }
  return {};
}

Result<bool> RcQueuePairs::advance() {
  std::array<ibv_wc, kRcRequests> completions;
  const int count =
      ibv_poll_cq(queue_.get(), static_cast<int>(completions.size()), completions.data());
  if (count < 0) return Fail(ErrorCode::kIo, "RDMA: the completion queue cannot be polled");
  for (int i = 0; i < count; ++i) {
    if (auto done = on_completion(completions[static_cast<size_t>(i)]); !done) {
      return tl::unexpected(done.error());
    }
  }
  if (sends_ && count > 0) {
    if (auto done = write_cleared(); !done) return tl::unexpected(done.error());
  }
  return count > 0;
}

Result<void> RcQueuePairs::on_completion(const ibv_wc& completion) {
  if (completion.status != IBV_WC_SUCCESS) {
    return Fail(ErrorCode::kIo, device_.explain(completion));
  }
  const bool arrived = completion.opcode == IBV_WC_RECV_RDMA_WITH_IMM;
  if (sends_ && arrived) {
    ++cleared_;
    return post_receive(pairs_[0].get(), cleared_);
  }
  if (!sends_ && !arrived) return {};  // a clear-to-send has left
  Message& message = at(completion.wr_id);
  FARSPAN_CHECK(message.used && message.parts_left > 0);
  if (arrived) message.bytes = completion.imm_data;
  if (message.bytes > message.buffer.bytes) {
    return Fail(ErrorCode::kIo, "the peer contradicted itself");
  }
  --message.parts_left;
  return {};
}

Result<void> RcQueuePairs::arm() {
  errno = ibv_req_notify_cq(queue_.get(), 0);
  if (errno == 0) return {};
  return verbs::VerbsError(fmt::format("{} notifies of no completion", device_.name()));
}

std::optional<uint64_t> RcQueuePairs::release(uint64_t number) {
  Message& message = at(number);
  FARSPAN_CHECK(message.used);
  if (message.parts_left > 0) return std::nullopt;
  message.used = false;
  message.region.reset();
  return message.bytes;
}

}  // namespace farspan::baselines
