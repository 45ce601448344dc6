#include <algorithm>
#include <cstring>
#include <tuple>
#include <utility>

#include "emulator/base/check.h"
#include "transports/core/sender.h"

namespace farspan::transport {

uint32_t Sender::datagram_bytes(const Message& msg, uint32_t index) const {
  const uint64_t before = uint64_t{index} * setup_.payload_bytes;
  return static_cast<uint32_t>(std::min<uint64_t>(setup_.payload_bytes, msg.bytes - before));
}

TimeNs Sender::until_dry() const {
  uint64_t rate = 0;
  for (const SendPath& path : paths_) {
    uint64_t bits_per_s = path.shared->pacing_rate().bits_per_s;
    if (bits_per_s == 0 && path.shared->smoothed_rtt().ns > 0) {  // not paced: by its window
      bits_per_s =
          static_cast<uint64_t>(static_cast<double>(path.shared->controller().window_bytes()) *
                                8e9 / static_cast<double>(path.shared->smoothed_rtt().ns));
    }
    rate += bits_per_s;
  }
  if (rate == 0) return {};
  const double bits =
      8.0 * static_cast<double>(unsent_) *
      (setup_.payload_bytes + config_.overhead_bytes + HeaderBytes({.type = PacketType::kData}));
  return {static_cast<int64_t>(bits * 1e9 / static_cast<double>(rate))};
}

// Nothing of what the receiver has need be sent: the cursor may stand there where it went back.
void Sender::skip_known() {
  if (group_.parity != 0 && group_.message < complete_) drop_group();
  while (cursor_message_ < complete_) {
    unsent_ -= message(cursor_message_).datagrams - cursor_index_;
    cursor_index_ = 0;
    ++cursor_message_;
  }
  if (recovery_->in_order() && cursor_message_ == complete_ && cursor_index_ < base_index_) {
    unsent_ -= base_index_ - cursor_index_;
    cursor_index_ = base_index_;
  }
}

bool Sender::data_ready() const {
  if (cursor_message_ >= posted_ || cursor_message_ >= credits_) return false;
  const uint64_t window = uint64_t{setup_.window} * setup_.paths;
  const uint32_t base = cursor_message_ == complete_ ? base_index_ : 0;
  return cursor_index_ < base + window;
}

// Drops what need not be sent any more from the head of the chain; whether anything is left.
bool Sender::next_repair(TimeNs now) {
  while (!repairs_.empty()) {
    const Loss& loss = losses_[repairs_.head];
    const bool wanted = !loss.cancelled && full_message(loss.message) >= complete_;
    if (wanted && (!loss.spare || may_follow(now, repairs_.head))) return true;
    const uint32_t block = loss.queued ? loss.block : kNone;
    forget_loss(remove_head(losses_, repairs_));
    if (block == kNone) continue;
    --blocks_[block].queued;
    --blocks_[block].planned;
    free_if_resolved(block);
  }
  return false;
}

// Further copies go with the first, not half a round trip behind it: it would save little by
// then, and come close to what is sent for the first, should that be lost.
bool Sender::may_follow(TimeNs now, uint32_t spare) const {
  const SentPacket& first = packets_[losses_[spare].origin];
  const Path& path = *paths_[losses_[spare].origin / setup_.window].shared;
  return first.loss == spare && first.state == State::kInFlight &&
         path.next_departure(now) < first.sent + TimeNs{path.min_rtt().ns / 2};
}

Sender::Work Sender::next_work(TimeNs now) {
  if (next_repair(now)) return Work::kRepair;
  if (group_.parity != 0 && cursor_index_ >= group_.end) return Work::kParity;
  return data_ready() ? Work::kData : Work::kNone;
}

bool Sender::may_send(const SendPath& path, bool repair) const {
  return path.next - path.unsettled < setup_.window &&
         (repair || losses_used_ + inflight_ < losses_.size()) &&
         path.shared->has_room(setup_.payload_bytes + config_.overhead_bytes +
                               HeaderBytes({.type = PacketType::kData}));
}

// A path that has twice not answered gets nothing but probes while another one does.
bool Sender::usable(const SendPath& path, bool repair, bool all) const {
  return may_send(path, repair) && (all || path.backoff < 2);
}

TimeNs Sender::earliest_departure(bool repair) const {
  const bool all = std::all_of(paths_.begin(), paths_.end(),
                               [](const SendPath& path) { return path.backoff >= 2; });
  TimeNs earliest = kNever;
  for (const SendPath& path : paths_) {
    if (usable(path, repair, all)) {
      earliest = std::min(earliest, path.shared->next_departure(TimeNs{INT64_MIN}));
    }
  }
  return earliest;
}

uint32_t Sender::pick_path(TimeNs now, TimeNs horizon, bool repair) {
  const bool all = std::all_of(paths_.begin(), paths_.end(),
                               [](const SendPath& path) { return path.backoff >= 2; });
  uint32_t best = kNone;
  TimeNs earliest = horizon;
  for (uint32_t i = 0; i < setup_.paths; ++i) {
    const uint32_t p = (turn_ + i) % setup_.paths;
    const TimeNs departure = paths_[p].shared->next_departure(now);
    if (!usable(paths_[p], repair, all) || departure > earliest ||
        (best != kNone && departure == earliest)) {
      continue;
    }
    best = p;
    earliest = departure;
  }
  if (best != kNone) turn_ = (best + 1) % setup_.paths;
  return best;
}

bool Sender::transmit_data(TimeNs now, TimeNs horizon, TxSlot& slot) {
  const Work work = next_work(now);
  if (work == Work::kNone) return false;
  if (work == Work::kParity && group_.sent == 0 && !config_.lengths_only &&
      parity_busy_[blocks_[group_.block[0]].parity_slot] == 1) {
    encode_group();
  }
  const uint32_t path = pick_path(now, horizon, work == Work::kRepair);
  if (path == kNone) return false;
  switch (work) {
    case Work::kRepair:
      send_repair(now, path, slot);
      break;
    case Work::kParity:
      send_parity(now, path, slot);
      break;
    default:
      send_new(now, path, slot);
  }
  return true;
}

Sender::SentPacket& Sender::send_symbol(TimeNs now, uint32_t p, uint64_t message_number,
                                        const Header& symbol, TxSlot& slot) {
  SendPath& path = paths_[p];
  const uint64_t number = path.next++;
  const Message& msg = message(message_number);
  Header header = symbol;
  header.path = static_cast<uint8_t>(p);
  header.connection = setup_.peer_id;
  header.number = static_cast<uint32_t>(number);
  header.message = static_cast<uint16_t>(message_number);
  header.message_bytes = msg.bytes;
  header.tag = msg.tag;
  seal(header, number, slot, ((comm().value & 0xfff) + 1) << 4 | p);
  slot.tx_time = path.shared->next_departure(now);
  const uint32_t wire = slot.bytes() + config_.overhead_bytes;
  SentPacket& sent = packet(p, number);
  sent = {};
  sent.sent = slot.tx_time;
  sent.index = symbol.index;
  sent.message = header.message;
  sent.wire_bytes = static_cast<uint16_t>(wire);
  sent.state = State::kInFlight;
  path.unacked.set(number);
  ++path.inflight;
  ++inflight_;
  const bool more = !repairs_.empty() || group_.parity != 0 || data_ready();
  sent.stamp = path.shared->on_sent(slot.tx_time, wire, !more);
  return sent;
}

Sender::SentPacket& Sender::send_datagram(TimeNs now, uint32_t path, uint64_t number,
                                          uint32_t index, TxSlot& slot) {
  const Message& msg = message(number);
  slot.payload = {msg.data == nullptr ? nullptr : msg.data + uint64_t{index} * setup_.payload_bytes,
                  datagram_bytes(msg, index), msg.memory};
  return send_symbol(now, path, number, {.type = PacketType::kData, .index = index}, slot);
}

void Sender::send_repair(TimeNs now, uint32_t path, TxSlot& slot) {
  const uint32_t id = remove_head(losses_, repairs_);
  const Loss loss = losses_[id];
  if (!loss.spare && packets_[loss.origin].loss == id) packets_[loss.origin].repaired = true;
  const bool again = loss.copies > 1 && losses_used_ + inflight_ < losses_.size();
  const uint32_t first = loss.spare ? loss.origin : ref(path, paths_[path].next);
  forget_loss(id);
  SentPacket& sent = send_datagram(now, path, full_message(loss.message), loss.index, slot);
  sent.repair = true;
  sent.spare = loss.spare;
  if (again) {
    const uint32_t spare = record_loss(first);
    losses_[spare].copies = static_cast<uint8_t>(loss.copies - 1);
    losses_[spare].spare = true;
    append(losses_, repairs_, spare);
  }
  if (loss.queued) {
    join(sent, loss.block);
    --blocks_[loss.block].queued;
  }
  ++counters_.data_resent;
}

// A group must fit well into the receiver's window, which cannot move on before it is complete.
GroupPlan Sender::fit(GroupPlan plan) const {
  const uint32_t room = setup_.window / 4;
  plan.parity = std::min(plan.parity, room / 2);
  plan.data = std::min(plan.data, room - plan.parity);
  plan.blocks = std::max(1u, std::min(plan.blocks, room / (plan.data + plan.parity)));
  return plan;
}

void Sender::start_group() {
  const Message& msg = message(cursor_message_);
  uint32_t burst = 1;
  double loss = 0;
  TimeNs rtt{};
  for (SendPath& path : paths_) {
    loss = std::max(loss, path.shared->losses().upper());
    burst = std::max(burst, path.shared->losses().burst());
    rtt = std::max(rtt, path.shared->smoothed_rtt());
  }
  const uint32_t left = msg.datagrams - cursor_index_;
  const GroupPlan plan =
      fit(recovery_->plan_group({msg.datagrams, left, until_dry(), rtt, loss, burst}));
  group_ = {};
  group_.message = cursor_message_;
  group_.first = cursor_index_;
  group_.end = cursor_index_ + std::min(left, plan.blocks * plan.data);
  if (plan.parity == 0) return;
  const uint32_t blocks = std::min(plan.blocks, group_.end - group_.first);
  uint32_t parity_slot = 0;
  if (!alloc_parity(blocks * plan.parity, parity_slot)) return;
  for (uint32_t b = 0; b < blocks; ++b) {
    const uint32_t place = free_block_;
    Block& block = blocks_[place];
    free_block_ = block.next_free;
    block = {.generation = block.generation};
    block.message = cursor_message_;
    block.first = group_.first + b;
    block.data = static_cast<uint8_t>((group_.end - block.first + blocks - 1) / blocks);
    block.stride = static_cast<uint8_t>(blocks);
    block.planned = block.data + plan.parity;
    block.parity_slot = parity_slot + b * plan.parity;
    group_.block[b] = place;
  }
  group_.blocks = blocks;
  group_.parity = plan.parity;
}

// Slots of the parity store in a row, and as many blocks as there could be; false: not now.
bool Sender::alloc_parity(uint32_t count, uint32_t& first) {
  const auto size = static_cast<uint32_t>(parity_busy_.size());
  if (count > size) return false;
  uint32_t free = free_block_;
  for (uint32_t b = 0; b < group_.block.size(); ++b) {
    if (free == kNone) return false;
    free = blocks_[free].next_free;
  }
  first = parity_next_ + count > size ? 0 : parity_next_;
  for (uint32_t i = 0; i < count; ++i) {
    if (parity_busy_[first + i] != 0) return false;
  }
  std::fill_n(parity_busy_.begin() + first, count, uint8_t{1});
  parity_next_ = first + count;
  return true;
}

// Slots are 1 from allocation, 2 once they hold their symbol, 0 when the driver has sent it.
void Sender::encode_group() {
  const Message& msg = message(group_.message);
  for (uint32_t b = 0; b < group_.blocks; ++b) {
    const Block& block = blocks_[group_.block[b]];
    const uint32_t last = datagram_bytes(msg, block.first + (block.data - 1u) * block.stride);
    const ErasureCode::Layout layout{.count = block.data,
                                     .stride = uint64_t{block.stride} * setup_.payload_bytes,
                                     .bytes = block.data == 1 ? last : setup_.payload_bytes,
                                     .last_bytes = last};
    code_.encode(layout, msg.data + uint64_t{block.first} * setup_.payload_bytes, group_.parity,
                 &parity_[size_t{block.parity_slot} * setup_.payload_bytes], setup_.payload_bytes);
    std::fill_n(parity_busy_.begin() + block.parity_slot, group_.parity, uint8_t{2});
  }
}

// Row by row over the blocks, so that a burst takes few of any one.
void Sender::send_parity(TimeNs now, uint32_t path, TxSlot& slot) {
  const uint32_t place = group_.block[group_.sent % group_.blocks];
  const Block& block = blocks_[place];
  const uint32_t row = group_.sent / group_.blocks;
  const uint32_t store = block.parity_slot + row;
  const Message& msg = message(group_.message);
  const uint32_t bytes = block.data == 1 ? datagram_bytes(msg, block.first) : setup_.payload_bytes;
  slot.payload = {parity_.empty() ? nullptr : &parity_[size_t{store} * setup_.payload_bytes], bytes,
                  0};
  SentPacket& sent = send_symbol(now, path, group_.message,
                                 {.type = PacketType::kParity,
                                  .index = block.first,
                                  .block_data = block.data,
                                  .row = static_cast<uint8_t>(row),
                                  .stride = block.stride},
                                 slot);
  sent.parity = true;
  sent.index = store;
  join(sent, place);
  ++counters_.parity_sent;
  if (++group_.sent < group_.blocks * group_.parity) return;
  group_ = {};
  end_message();
}

// The cursor leaves a message when its last datagram, and the parity on it, have left.
void Sender::end_message() {
  if (cursor_index_ < message(cursor_message_).datagrams) return;
  ++cursor_message_;
  cursor_index_ = 0;
}

void Sender::send_new(TimeNs now, uint32_t path, TxSlot& slot) {
  if (cursor_index_ == 0 || cursor_index_ >= group_.end || group_.message != cursor_message_) {
    start_group();
  }
  const uint32_t index = cursor_index_++;
  --unsent_;
  const uint64_t number = cursor_message_;
  SentPacket& sent = send_datagram(now, path, number, index, slot);
  if (group_.parity != 0) join(sent, group_.block[(index - group_.first) % group_.blocks]);
  const bool again = std::pair(number, index) < std::pair(fresh_message_, fresh_index_);
  ++(again ? counters_.data_resent : counters_.data_sent);
  if (group_.parity == 0) end_message();
}

// What of it has not left need not, or cannot, be sent any more: its blocks do with fewer symbols.
// A block of which all have left may have been freed, and be another's by now.
void Sender::drop_group() {
  const Group old = std::exchange(group_, {});
  const auto abandon = [this](uint32_t place) {
    --blocks_[place].planned;
    free_if_resolved(place);
  };
  for (uint32_t sent = old.sent; sent < old.parity * old.blocks; ++sent) {
    const uint32_t place = old.block[sent % old.blocks];
    parity_busy_[blocks_[place].parity_slot + sent / old.blocks] = 0;
    abandon(place);
  }
  const bool inside = old.message == cursor_message_ && cursor_index_ < old.end;
  for (uint32_t i = inside ? cursor_index_ : old.end; i < old.end; ++i) {
    abandon(old.block[(i - old.first) % old.blocks]);
  }
}

void Sender::go_back(uint64_t to, uint32_t index) {
  if (to > cursor_message_ || (to == cursor_message_ && index >= cursor_index_)) return;
  if (group_.parity != 0) drop_group();
  while (!repairs_.empty()) forget_loss(remove_head(losses_, repairs_));
  std::tie(fresh_message_, fresh_index_) =
      std::max(std::pair(fresh_message_, fresh_index_), std::pair(cursor_message_, cursor_index_));
  unsent_ += cursor_index_;
  while (cursor_message_ > to) unsent_ += message(--cursor_message_).datagrams;
  unsent_ -= index;
  cursor_index_ = index;
  group_ = {};
  skip_known();
}

}  // namespace farspan::transport
