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
  static constexpr size_t kSegments = 12;  // `newest_` among them

  struct Sent {  // between the two, both included
    TimeNs earliest{};
    TimeNs latest{};
  };

  void add(uint32_t psn, uint32_t span, TimeNs now, TimeNs grain) {
    if (newest_.span != 0 && psn == PsnAdd(newest_.psn, newest_.span) &&
        now - newest_.first < grain) {
      newest_.last_psn = psn;
      newest_.span += span;
      newest_.last = now;
      return;
    }
    Segment& oldest = older_[next_];
    if (oldest.span != 0) forgotten_until_ = oldest.last;
    oldest = newest_;
    next_ = (next_ + 1) % older_.size();
    newest_ = {psn, psn, span, now, now};
  }

  // The last time that `psn` entered.
  Sent last_sent(uint32_t psn) const {
    for (size_t i = 0; i < kSegments; ++i) {
      const Segment& s = i == 0 ? newest_ : older_[(next_ + older_.size() - i) % older_.size()];
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

  Segment newest_;  // first, where its owner may have it in cache
  std::array<Segment, kSegments - 1> older_{};
  uint32_t next_ = 0;  // of them to go
  TimeNs forgotten_until_{std::numeric_limits<int64_t>::min()};
};

}  // namespace farspan::roce
