// SendHistory: when each of a queue pair's last PSNs entered the link, in a few words.
//
// PSNs that enter one after the other within `grain` share a segment, so that a time is known to
// within a segment, and exactly for its first and last PSN. Of what is older than the segments, or
// was never seen, only "not later than" is known.
#pragma once

#include <array>
#include <cstdint>
#include <limits>

#include "emulator/base/time.h"
#include "emulator/roce/roce_view.h"

namespace farspan::roce {

class SendHistory {
 public:
  static constexpr size_t kSegments = 12;

  struct Sent {  // between the two, both included
    TimeNs earliest{};
    TimeNs latest{};
  };

  void add(uint32_t psn, uint32_t span, TimeNs now, TimeNs grain) {
    Segment& newest = segments_[newest_];
    if (newest.span != 0 && psn == PsnAdd(newest.psn, newest.span) && now - newest.first < grain) {
      newest.last_psn = psn;
      newest.span += span;
      newest.last = now;
      return;
    }
    newest_ = (newest_ + 1) % kSegments;
    if (segments_[newest_].span != 0) forgotten_until_ = segments_[newest_].last;
    segments_[newest_] = {psn, psn, span, now, now};
  }

  // The last time that `psn` entered.
  Sent last_sent(uint32_t psn) const {
    for (size_t i = 0; i < kSegments; ++i) {
      const Segment& s = segments_[(newest_ + kSegments - i) % kSegments];
      if (((psn - s.psn) & kPsnMask) >= s.span) continue;
      if (psn == s.psn) return {s.first, s.first};
      if (psn == s.last_psn) return {s.last, s.last};
      return {s.first, s.last};
    }
    return {TimeNs{std::numeric_limits<int64_t>::min()}, forgotten_until_};
  }

 private:
  struct Segment {
    uint32_t psn = 0;
    uint32_t last_psn = 0;  // of its last packet
    uint32_t span = 0;      // PSNs; 0: none yet
    TimeNs first{};
    TimeNs last{};
  };

  std::array<Segment, kSegments> segments_{};
  uint32_t newest_ = 0;
  TimeNs forgotten_until_{std::numeric_limits<int64_t>::min()};
};

}  // namespace farspan::roce
