// Active queue management at dequeue: RED / DCQCN marking, step marking, CoDel.
//
// One Aqm per class of a bottleneck. It is asked once for every packet that is about to begin
// service, with the packet's own virtual time, the class's backlog behind it and its sojourn; it
// answers pass, mark or drop.
// Sources: RED with instantaneous queue as DCQCN uses it (Zhu et al., SIGCOMM'15, section 3.1),
// step marking (DCTCP, RFC 8257), CoDel (RFC 8289). Not modelled: RED's averaged queue; CoDel's
// drop_next is advanced with the drop itself, not after looking at the next packet.
#pragma once

#include <cstdint>

#include "emulator/base/random.h"
#include "emulator/base/time.h"
#include "emulator/link/spec.h"

namespace farspan::link {

enum class AqmVerdict : uint8_t { kPass, kMark, kDrop };

class Aqm {
 public:
  Aqm(const AqmSpec& spec, StreamKey key, uint32_t stream)
      : spec_(spec), key_(key), stream_(stream) {}

  void start_epoch() { draws_ = 0; }

  // `backlog_bytes`: waiting in the class without this packet. `now`: start of its service.
  AqmVerdict decide(TimeNs now, TimeNs sojourn, uint64_t backlog_bytes, bool ecn_capable) {
    if (spec_.kind == AqmKind::kTailDrop) return AqmVerdict::kPass;
    return decide_active(now, sojourn, backlog_bytes, ecn_capable);
  }

 private:
  AqmVerdict decide_active(TimeNs now, TimeNs sojourn, uint64_t backlog_bytes, bool ecn_capable);
  bool red(uint64_t backlog_bytes);
  bool codel(TimeNs now, TimeNs sojourn, uint64_t backlog_bytes);
  TimeNs control_law(TimeNs from) const;

  AqmSpec spec_;
  StreamKey key_;
  uint32_t stream_;
  uint64_t draws_ = 0;

  TimeNs first_above_ = kNever;  // CoDel: when the sojourn will have been too long for an interval
  TimeNs drop_next_{};
  uint32_t count_ = 0;
  uint32_t last_count_ = 0;
  bool dropping_ = false;
};

}  // namespace farspan::link
