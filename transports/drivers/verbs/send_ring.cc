#include "transports/drivers/verbs/send_ring.h"

#include <cstring>

#include "emulator/base/check.h"

namespace farspan::verbs {

SendRing::SendRing(std::span<uint8_t> memory, size_t slot_bytes, uint32_t local_key)
    : pieces_(memory.size() / slot_bytes), requests_(pieces_.size()), slot_bytes_(slot_bytes) {
  for (size_t i = 0; i < pieces_.size(); ++i) {
    pieces_[i] = {reinterpret_cast<uintptr_t>(memory.data() + i * slot_bytes), 0, local_key};
    requests_[i] = {};
    requests_[i].sg_list = &pieces_[i];
    requests_[i].num_sge = 1;
    requests_[i].opcode = IBV_WR_SEND;
    requests_[i].wr.ud.remote_qkey = kQueueKey;
  }
}

void SendRing::add(const transport::TxSlot& slot, ibv_ah* handle, uint32_t queue_pair) {
  FARSPAN_CHECK(room() > 0 && slot.bytes() <= slot_bytes_);
  ibv_sge& piece = pieces_[index(added_)];
  ibv_send_wr& request = requests_[index(added_)];
  auto* to = reinterpret_cast<uint8_t*>(piece.addr);
  std::memcpy(to, slot.header.data(), slot.header_bytes);
  to += slot.header_bytes;
  if (slot.payload.bytes > 0) std::memcpy(to, slot.payload.data, slot.payload.bytes);
  std::memcpy(to + slot.payload.bytes, slot.trailer.data(), slot.trailer_bytes);
  piece.length = slot.bytes();
  request.wr.ud.ah = handle;
  request.wr.ud.remote_qpn = queue_pair;
  request.send_flags = 0;
  request.next = nullptr;
  if (added_ > posted_) requests_[index(added_ - 1)].next = &request;
  request.wr_id = ++added_;
}

ibv_send_wr* SendRing::take() {
  if (posted_ == added_) return nullptr;
  ibv_send_wr* first = &requests_[index(posted_)];
  requests_[index(added_ - 1)].send_flags = IBV_SEND_SIGNALED;
  posted_ = added_;
  return first;
}

}  // namespace farspan::verbs
