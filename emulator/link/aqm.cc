#include "emulator/link/aqm.h"

#include <cmath>

namespace farspan::link {

AqmVerdict Aqm::decide_active(TimeNs now, TimeNs sojourn, uint64_t backlog_bytes,
                              bool ecn_capable) {
  const bool congested = spec_.kind == AqmKind::kRed    ? red(backlog_bytes)
                         : spec_.kind == AqmKind::kStep ? backlog_bytes > spec_.step_bytes
                                                        : codel(now, sojourn, backlog_bytes);
  if (!congested) return AqmVerdict::kPass;
  if (spec_.ecn && ecn_capable) return AqmVerdict::kMark;
  if (!spec_.ecn || spec_.drop_not_ect) return AqmVerdict::kDrop;
  return AqmVerdict::kPass;
}

bool Aqm::red(uint64_t backlog_bytes) {
  if (backlog_bytes <= spec_.k_min_bytes) return false;
  if (backlog_bytes > spec_.k_max_bytes) return true;
  const double p = spec_.p_max * static_cast<double>(backlog_bytes - spec_.k_min_bytes) /
                   static_cast<double>(spec_.k_max_bytes - spec_.k_min_bytes);
  return ToUnit(Draw(key_, RandomPurpose::kAqm, draws_++, stream_).lo) < p;
}

TimeNs Aqm::control_law(TimeNs from) const {
  return from + TimeNs{static_cast<int64_t>(static_cast<double>(spec_.codel_interval.ns) /
                                            std::sqrt(static_cast<double>(count_)))};
}

bool Aqm::codel(TimeNs now, TimeNs sojourn, uint64_t backlog_bytes) {
  constexpr uint64_t kMaxPacket = 1538;  // RFC 8289, 4.4: an MTU or less waiting is no queue
  bool ok_to_drop = false;
  if (sojourn < spec_.codel_target || backlog_bytes <= kMaxPacket) {
    first_above_ = kNever;
  } else if (first_above_ == kNever) {
    first_above_ = now + spec_.codel_interval;
  } else {
    ok_to_drop = now >= first_above_;
  }

  if (dropping_) {
    if (!ok_to_drop) {
      dropping_ = false;
      return false;
    }
    if (now < drop_next_) return false;
    ++count_;
    drop_next_ = control_law(drop_next_);
    return true;
  }
  if (!ok_to_drop) return false;
  dropping_ = true;
  const uint32_t delta = count_ - last_count_;
  const bool recently = now - drop_next_ < TimeNs{16 * spec_.codel_interval.ns};
  count_ = delta > 1 && recently ? delta : 1;
  drop_next_ = control_law(now);
  last_count_ = count_;
  return true;
}

}  // namespace farspan::link
