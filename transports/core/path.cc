#include "transports/core/path.h"

#include "emulator/base/check.h"

namespace farspan::transport {
namespace {

constexpr TimeNs kMinRttMemory{10'000'000'000};

}  // namespace

Path::Path(const Route& route, ControllerPtr controller, TimeNs rtt, TimeNs granularity)
    : route_(route),
      controller_(std::move(controller)),
      granularity_(granularity),
      smoothed_(rtt),
      variation_{rtt.ns / 2},
      min_rtt_(rtt) {}

TimeNs Path::timeout(TimeNs ack_delay) const {
  const TimeNs margin{std::max({4 * variation_.ns, smoothed_.ns / 64, granularity_.ns})};
  return smoothed_ + ack_delay + margin + TimeNs{1'000};
}

DeliveryStamp Path::on_sent(TimeNs departure, uint32_t bytes, bool app_limited) {
  if (inflight_ == 0) first_sent_ = delivered_at_ = departure;
  inflight_ += bytes;
  if (app_limited) app_limited_until_ = delivered_ + inflight_;
  const Rate rate = controller_->pacing_rate();
  const TimeNs late_at_most = departure - granularity_;
  if (late_at_most > next_departure_) {
    next_departure_ = late_at_most;
    spacing_rest_ = 0;
  }
  if (rate.bits_per_s != 0) {
    const uint64_t bit_ns = uint64_t{bytes} * 8'000'000'000u + spacing_rest_;
    next_departure_ += TimeNs{static_cast<int64_t>(bit_ns / rate.bits_per_s)};
    spacing_rest_ = bit_ns % rate.bits_per_s;
  }
  controller_->on_sent({departure, bytes, inflight_, app_limited});
  return {delivered_, delivered_at_, first_sent_};
}

void Path::on_rtt(TimeNs now, TimeNs sample) {
  FARSPAN_CHECK(sample.ns > 0);
  if (smoothed_.ns == 0) {
    smoothed_ = sample;
    variation_ = {sample.ns / 2};
  } else {
    const int64_t error = std::abs(smoothed_.ns - sample.ns);
    variation_.ns += (error - variation_.ns) / 4;
    smoothed_.ns += (sample.ns - smoothed_.ns) / 8;
  }
  if (min_rtt_.ns == 0 || sample <= min_rtt_ || now - min_rtt_at_ > kMinRttMemory) {
    min_rtt_ = sample;
    min_rtt_at_ = now;
  }
  // The reordering window decays by an eighth each round trip; what is late widens it again.
  if (now - reordering_checked_ > smoothed_) {
    reordering_checked_ = now;
    reordering_.ns -= reordering_.ns / 8;
  }
}

void Path::on_acked(TimeNs now, uint64_t bytes, uint32_t packets, uint32_t marked, TimeNs rtt,
                    const DeliveryStamp& newest, TimeNs sent) {
  inflight_ -= bytes;
  delivered_ += bytes;
  delivered_at_ = now;
  losses_.on_delivered(packets);
  RateSample rate;
  if (packets != 0) {
    first_sent_ = sent;
    rate.interval = std::max(sent - newest.first_sent, now - newest.delivered_at);
    rate.delivered = delivered_ - newest.delivered;
    rate.prior_delivered = newest.delivered;
    rate.app_limited = newest.delivered < app_limited_until_;
    if (rate.interval.ns > 0) {
      rate.bits_per_s = static_cast<uint64_t>(static_cast<double>(rate.delivered) * 8e9 /
                                              static_cast<double>(rate.interval.ns));
    }
  }
  controller_->on_ack(
      {now, bytes, packets, marked, inflight_, delivered_, rtt, smoothed_, min_rtt_, rate});
}

void Path::on_lost(TimeNs now, uint64_t number, uint32_t bytes, TimeNs sent, bool repaired) {
  inflight_ -= bytes;
  losses_.on_lost(number);
  const bool first = sent >= episode_.until && delivered_ != episode_.delivered;
  if (first) episode_ = {episode_.until, now, delivered_, 0};
  if (sent >= episode_.since) ++episode_.losses;
  controller_->on_loss({now, bytes, sent, inflight_, delivered_, repaired, first});
}

void Path::on_spurious(TimeNs now, TimeNs sent) {
  losses_.on_late();
  if (sent < episode_.since || episode_.losses == 0 || --episode_.losses != 0) return;
  episode_ = {.since = episode_.since, .until = episode_.since};
  controller_->on_spurious(now);
}

}  // namespace farspan::transport
