#include "transports/testbed/span_model.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "emulator/base/check.h"
#include "transports/core/connection.h"
#include "transports/core/wire.h"

namespace farspan::testbed {
namespace {

double DatagramSeconds(const transport::SpanConfig& config,
                       transport::PacketType type = transport::PacketType::kData) {
  const uint32_t bytes =
      config.payload_bytes + config.overhead_bytes + transport::HeaderBytes({.type = type});
  return 8.0 * bytes / static_cast<double>(config.controller.rate.bits_per_s);
}

TimeNs FromSeconds(double seconds) { return {static_cast<int64_t>(seconds * 1e9)}; }

}  // namespace

Result<SpanModel> SpanModel::Create(const SpanModelOptions& options) {
  const auto fail = [](const char* what) { return Fail(ErrorCode::kInvalid, what, "SpanModel"); };
  if (options.config.controller.rate.bits_per_s == 0 || options.rtt.ns <= 0) {
    return fail("the rate and the round trip must be more than 0");
  }
  if (options.config.congestion != "fixed") return fail("only congestion 'fixed' is modelled");
  for (const double loss : {options.loss, options.loss_back}) {
    if (!(loss >= 0 && loss <= 0.5)) return fail("a loss must be from 0 to 0.5");
  }
  if (options.config.window_packets * DatagramSeconds(options.config) <
      1.1 * ToSeconds(options.rtt)) {
    return fail("the window must hold more than a round trip: raise window_packets");
  }
  const auto recovery = transport::FindRecovery(options.config.recovery);
  if (!recovery) return tl::unexpected(recovery.error());
  return SpanModel(options, (*recovery)(options.config.policy));
}

SpanModel::SpanModel(const SpanModelOptions& options, transport::RecoveryPtr recovery)
    : options_(options),
      recovery_(std::move(recovery)),
      key_(MakeStreamKey(options.seed, "span model", 0)),
      gap_(options.loss),
      datagram_s_(DatagramSeconds(options.config)),
      parity_s_(DatagramSeconds(options.config, transport::PacketType::kParity)),
      rtt_(ToSeconds(options.rtt)),
      ack_wait_(rtt_ / options.config.ack_per_rtt),
      dense_ack_wait_(std::min(ack_wait_, options.config.ack_packets * datagram_s_)) {
  // On a path of constant delay: Path::timeout() without variation.
  const double smoothed = rtt_ + datagram_s_;
  const double usual = smoothed * (1 + 1.0 / options.config.ack_per_rtt + 1.0 / 64) + 1e-6;
  const transport::PathView view{.smoothed_rtt = FromSeconds(smoothed),
                                 .min_rtt = FromSeconds(smoothed)};
  patience_ = ToSeconds(recovery_->timeout(view, FromSeconds(usual)));
  loss_delay_ = ToSeconds(recovery_->loss_delay(view));
  next_lost_ = gap();
}

ModelledMessage SpanModel::exchange(uint64_t datagrams) {
  FARSPAN_CHECK(datagrams > 0 && datagrams <= transport::kMaxDatagramIndex);
  result_ = {};
  datagrams_ = datagrams;
  if (recovery_->in_order()) go_back_n();
  run();
  settle();
  return result_;
}

void SpanModel::run() {
  for (;;) {
    hear();
    if (finished_ <= now_) return;
    if (repair_waits()) {
      send_repair();
    } else if (parity_waits()) {
      send_parity();
    } else if (cursor_ < datagrams_ && cursor_ < window_end()) {
      send_data();
    } else {
      wait();
    }
  }
}

// What is still under way is done with before the next message begins.
void SpanModel::settle() {
  result_.sender_s = finished_;
  for (const Lost& lost : lost_) estimate_.on_lost(lost.number);
  estimated_ += lost_.size();
  if (next_number_ > estimated_) estimate_.on_delivered(next_number_ - estimated_);
  expected_ = estimated_ = next_number_;
  cursor_ = 0;
  now_ = last_sent_ = timeout_after_ = 0;
  backoff_ = 0;
  known_base_ = 0;
  group_ = {};
  blocks_.clear();
  repairs_.clear();
  lost_.clear();
  reported_ = followed_ = first_open_ = 0;
  holes_.clear();
  open_ = 0;
  marks_.clear();
  waiting_ = 0;
  ack_at_ = repeat_at_ = finished_ = kNever;
  complete_ = false;
}

// --- The link -----------------------------------------------------------------------------------

void SpanModel::lose(Lost lost) {
  lost.number = next_number_++;
  lost.sent = last_sent_ = now_;
  now_ += lost.parity ? parity_s_ : datagram_s_;
  next_lost_ = next_number_ + gap();
  lost_.push_back(lost);
}

void SpanModel::deliver(uint64_t count, double each) {
  const double first_at = now_ + each + rtt_ / 2;
  next_number_ += count;
  now_ += static_cast<double>(count) * each;
  last_sent_ = now_ - each;
  arrive(count, first_at, each);
}

// --- The sender ---------------------------------------------------------------------------------

void SpanModel::hear() {
  while (reported_ > 0 && lost_.front().heard <= now_) {
    const Lost lost = lost_.front();
    lost_.pop_front();
    --reported_;
    --followed_;
    known_base_ = std::max(known_base_, lost.base);
    declare(lost);
  }
  if (timeout_at() <= now_) on_timeout();
}

// Whether it was needed: Sender::declare_lost().
bool SpanModel::declare(const Lost& lost) {
  estimate_.on_lost(lost.number);
  ++estimated_;
  const bool needed = known_base_ < datagrams_ && (lost.parity || lost.index >= known_base_);
  const auto copies = [&] {
    return recovery_
        ->on_lost({.number = lost.number,
                   .next_number = next_number_,
                   .until_dry = FromSeconds(until_dry()),
                   .smoothed_rtt = FromSeconds(rtt_ + datagram_s_),
                   .needed = needed,
                   .again = lost.repair,
                   .loss = estimate_.upper(),
                   .inflight = static_cast<uint64_t>(inflight())})
        .copies;
  };
  if (lost.block != kNone) {
    Block& block = blocks_[lost.block];
    ++block.lost;
    if (!needed) return false;
    if (!lost.parity) block.missing.push_back(lost.index);
    while (block.planned - block.lost < block.data && block.repaired < block.missing.size()) {
      repairs_.push_back(
          {block.missing[block.repaired++], lost.block, std::max(1u, copies()), false, 0});
      ++block.planned;
    }
  } else if (needed && !lost.spare) {
    if (const uint32_t n = copies(); n != 0) repairs_.push_back({lost.index, kNone, n, false, 0});
  }
  return needed;
}

// Datagrams that left within the last round trip, had they left without a pause.
double SpanModel::inflight() const {
  return std::max(0.0, last_sent_ - std::max(0.0, now_ - rtt_)) / datagram_s_;
}

// Until then nothing is heard of the oldest packet, and it is given up.
double SpanModel::timeout_at() const {
  if (lost_.empty() && !(complete_ && finished_ == kNever)) return kNever;
  const double oldest = lost_.empty() ? last_sent_ : lost_.front().sent;
  return std::max(given_up(oldest, last_sent_ - oldest), timeout_after_);
}

void SpanModel::on_timeout() {
  bool ask = lost_.empty();
  for (int needed = 0; needed < 2 && !lost_.empty();) {
    const Lost lost = lost_.front();
    if (given_up(lost.sent, last_sent_ - lost.sent) > now_) break;
    lost_.pop_front();
    if (reported_ > 0) --reported_;
    if (followed_ > 0) --followed_;
    if (declare(lost)) {
      ask = true;
      ++needed;
    }
  }
  if (ask) {
    ping();
  } else {
    timeout_after_ = 0;
  }
}

// Its answer says of every packet that left before it whether it came.
void SpanModel::ping() {
  const bool answered = ToUnit(word()) >= options_.loss && ToUnit(word()) >= options_.loss_back;
  if (!answered) {
    const double limit = ToSeconds(options_.config.timeout) / transport::kProbesPerTimeout;
    timeout_after_ = now_ + std::min(std::ldexp(patience_, std::min(++backoff_, 20)), limit);
    return;
  }
  backoff_ = 0;
  timeout_after_ = now_ + rtt_;
  followed_ = lost_.size();
  for (; reported_ < followed_; ++reported_) {
    lost_[reported_].heard = now_ + rtt_;
    lost_[reported_].base = base();
  }
  if (complete_) finished_ = std::min(finished_, now_ + rtt_);
}

// Until the sender has something to do, unless an ACK that time alone causes is to tell it more.
void SpanModel::wait() {
  double next = std::min(finished_, timeout_at());
  if (reported_ > 0) next = std::min(next, lost_.front().heard);
  if (cursor_ < datagrams_ && holes_.front().filled) next = std::min(next, holes_.front().known);
  if (const double ack = std::min(ack_at_, repeat_at_); ack < next + datagram_s_ + rtt_ / 2) {
    return fire_acks(ack);
  }
  FARSPAN_CHECK(next < kNever);
  now_ = std::max(now_, next);
}

// A spare copy goes half a round trip behind the first at most.
bool SpanModel::repair_waits() {
  while (!repairs_.empty() && repairs_.front().spare &&
         now_ >= repairs_.front().first_sent + rtt_ / 2) {
    repairs_.pop_front();
  }
  return !repairs_.empty();
}

void SpanModel::send_repair() {
  const Repair repair = repairs_.front();
  repairs_.pop_front();
  ++result_.resent;
  if (repair.copies > 1)
    repairs_.push_back(
        {repair.index, kNone, repair.copies - 1, true, repair.spare ? repair.first_sent : now_});
  if (loses_next()) {
    return lose(
        {.index = repair.index, .block = repair.block, .repair = true, .spare = repair.spare});
  }
  fill(repair.index, now_ + datagram_s_ + rtt_ / 2);
  deliver(1, datagram_s_);
}

void SpanModel::send_parity() {
  const uint32_t place = group_.first_block + group_.parity_sent % group_.blocks;
  Block& block = blocks_[place];
  if (loses_next()) {
    ++group_.parity_sent;
    ++result_.parity;
    return lose({.index = group_.first, .block = place, .parity = true});
  }
  uint64_t count = 1;
  if (group_.blocks == 1 && block.holes.empty()) {
    count = std::min<uint64_t>(
        {group_.parity - group_.parity_sent, next_lost_ - next_number_, until_news()});
  }
  group_.parity_sent += static_cast<uint32_t>(count);
  result_.parity += count;
  block.parity += static_cast<uint32_t>(count);
  if (!block.holes.empty()) decode(block, now_ + parity_s_ + rtt_ / 2);
  deliver(count, parity_s_);
}

void SpanModel::send_data() {
  if (cursor_ == group_.end) start_group();
  if (loses_next()) {
    const auto index = static_cast<uint32_t>(cursor_++);
    uint32_t block = kNone;
    if (group_.parity != 0) {
      block = group_.first_block + (index - group_.first) % group_.blocks;
      blocks_[block].holes.push_back(index);
    }
    holes_.push_back({index, block, false, kNever});
    ++open_;
    return lose({.index = index, .block = block});
  }
  const uint64_t count = std::min(
      {group_.end - cursor_, next_lost_ - next_number_, window_end() - cursor_, until_news()});
  cursor_ += count;
  deliver(count, datagram_s_);
}

// Slots until the sender hears something.
uint64_t SpanModel::until_news() const {
  if (reported_ == 0) return datagrams_;
  const double slots = (lost_.front().heard - now_) / datagram_s_;
  return slots > 1 ? static_cast<uint64_t>(std::ceil(slots)) : 1;
}

uint64_t SpanModel::window_end() {
  while (!holes_.empty() && holes_.front().filled && holes_.front().known <= now_) {
    holes_.pop_front();
    --first_open_;
  }
  return holes_.empty() ? datagrams_ : holes_.front().index + options_.config.window_packets;
}

// Sender::start_group(), with an estimate of what was sent a round trip ago.
void SpanModel::start_group() {
  marks_.push_back({now_, next_number_});
  uint64_t known = 0;
  for (; marks_.front().at < now_ - rtt_ - datagram_s_; marks_.pop_front()) {
    known = marks_.front().number;
  }
  if (known > estimated_) {
    estimate_.on_delivered(known - estimated_);
    estimated_ = known;
  }
  const auto left = static_cast<uint32_t>(datagrams_ - cursor_);
  const transport::GroupPlan plan = recovery_->plan_group(
      {static_cast<uint32_t>(datagrams_), left, FromSeconds(until_dry()),
       FromSeconds(rtt_ + datagram_s_), estimate_.upper(), estimate_.burst()});
  group_ = {.first = static_cast<uint32_t>(cursor_)};
  group_.end = group_.first + std::min(left, plan.blocks * plan.data);
  if (plan.parity == 0) return;
  group_.blocks = std::min(plan.blocks, group_.end - group_.first);
  group_.parity = plan.parity;
  group_.first_block = static_cast<uint32_t>(blocks_.size());
  for (uint32_t b = 0; b < group_.blocks; ++b) {
    const uint32_t data = (group_.end - group_.first - b + group_.blocks - 1) / group_.blocks;
    blocks_.push_back({.data = data, .planned = data + plan.parity});
  }
}

// --- The receiver -------------------------------------------------------------------------------

uint32_t SpanModel::base() const {
  if (complete_) return static_cast<uint32_t>(datagrams_);
  return static_cast<uint32_t>(first_open_ < holes_.size() ? holes_[first_open_].index : cursor_);
}

// The datagram is there, unless it was before.
void SpanModel::fill(uint32_t index, double at) {
  const bool dense = cursor_ < datagrams_ && cursor_ < window_end();
  const auto hole = std::lower_bound(holes_.begin(), holes_.end(), index,
                                     [](const Hole& h, uint32_t i) { return h.index < i; });
  if (hole == holes_.end() || hole->index != index || hole->filled) return;
  hole->filled = true;
  hole->known = at + rtt_ / 2 + (dense ? dense_ack_wait_ : ack_wait_);
  --open_;
  while (first_open_ < holes_.size() && holes_[first_open_].filled) ++first_open_;
  if (hole->block == kNone) return;
  Block& block = blocks_[hole->block];
  const auto place = std::find(block.holes.begin(), block.holes.end(), index);
  if (place == block.holes.end()) return;
  block.holes.erase(place);
  decode(block, at);
}

void SpanModel::decode(Block& block, double at) {
  if (block.parity < block.holes.size()) return;
  for (const uint32_t index : std::exchange(block.holes, {})) fill(index, at);
}

// Packets that follow each other, the last `count` numbers. What they brought is there already.
void SpanModel::arrive(uint64_t count, double at, double each) {
  fire_acks(at);
  const bool gap = next_number_ - count > expected_;
  const double last = at + static_cast<double>(count - 1) * each;
  expected_ = next_number_;
  followed_ = lost_.size();
  if (complete_) {
    for (uint64_t i = 0; i < count && finished_ == kNever; ++i) {
      acknowledge(at + static_cast<double>(i) * each);
    }
    return complete(last);
  }
  const bool all = cursor_ == datagrams_ && open_ == 0;
  if (gap && !(all && count == 1)) {
    acknowledge(at);
    at += each;
    --count;
  }
  while (count > 0) {
    fire_acks(at);
    if (waiting_ == 0) ack_at_ = at + ack_wait_;
    const double in_time = std::max(1.0, std::ceil((ack_at_ - at) / each));
    const double room = options_.config.ack_packets - waiting_;
    const auto step = static_cast<uint32_t>(std::min({static_cast<double>(count), room, in_time}));
    waiting_ += step;
    count -= step;
    at += step * each;
    if (waiting_ == options_.config.ack_packets) acknowledge(at - each);
  }
  if (!all) return;
  complete_ = true;
  result_.receiver_s = last;
  acknowledge(last);
  complete(last);
}

// The ACK of a message's end is repeated.
void SpanModel::complete(double at) {
  repeats_left_ = 2;
  repeat_at_ = at + ack_wait_ / 2;
}

void SpanModel::acknowledge(double at) {
  waiting_ = 0;
  ack_at_ = kNever;
  if (reported_ == followed_ && !(complete_ && finished_ == kNever)) return;  // nothing new in it
  if (ToUnit(word()) < options_.loss_back) return;
  const double heard = at + rtt_ / 2;
  for (; reported_ < followed_; ++reported_) {
    lost_[reported_].heard = heard + loss_delay_;
    lost_[reported_].base = base();
  }
  if (complete_) finished_ = std::min(finished_, heard);
  timeout_after_ = std::min(timeout_after_, heard);
  backoff_ = 0;
}

void SpanModel::fire_acks(double until) {
  while (std::min(ack_at_, repeat_at_) <= until) {
    if (ack_at_ <= repeat_at_) {
      acknowledge(ack_at_);
      continue;
    }
    const double at = repeat_at_;
    acknowledge(at);
    repeat_at_ = --repeats_left_ > 0 ? at + ack_wait_ / 2 : kNever;
  }
}

}  // namespace farspan::testbed
