#include "transports/baselines/rc_responder.h"

#include <algorithm>

#include "transports/core/wire.h"

namespace farspan::baselines {

uint64_t RcResponder::expand(uint32_t number) const {
  return transport::Expand(number, 32, expected_);
}

RcResponder::Verdict RcResponder::on_packet(uint64_t number, bool asks, Answer& answer) {
  answer = {};
  if (number < expected_ || (number < highest_ && received_.test(number))) {
    if (asks) answer.kind = Answer::Kind::kAck;
    return Verdict::kDuplicate;
  }
  if (number > expected_ && !selective_) return ahead(number, answer);
  if (number >= expected_ + received_.capacity()) return Verdict::kDiscarded;
  received_.set(number);
  if (number > highest_) answer = {Answer::Kind::kNak, highest_, number - highest_};
  highest_ = std::max(highest_, number + 1);
  while (expected_ < highest_ && received_.test(expected_)) received_.clear(expected_++);
  told_ = false;
  if (answer.kind == Answer::Kind::kNak) return Verdict::kTaken;
  if (asks || ++unanswered_ >= ack_packets_) {
    answer.kind = Answer::Kind::kAck;
    unanswered_ = 0;
  }
  return Verdict::kTaken;
}

// Go-back-N: discarded, and the gap is told once.
RcResponder::Verdict RcResponder::ahead(uint64_t number, Answer& answer) {
  if (!told_) answer = {Answer::Kind::kNak, expected_, number - expected_};
  told_ = true;
  return Verdict::kDiscarded;
}

}  // namespace farspan::baselines
