// Priority-based flow control towards the sender (IEEE 802.1Q-2018 clause 36, 802.3 Annex 31D):
// how much room a class needs, and which frames its port has to send when.
//
// A class of a bottleneck asks its sender to stop when xoff bytes wait in it (PauseEvent), and to
// go on when no more than xon do. What still comes after that finds room in the headroom, the part
// of the queue's limit above xoff. Headroom is the sum of PfcHeadroom(): all that a sender at line
// rate can have put on its wire before the last of it has arrived. Waiting bytes are wire bytes.
//
// Units: quanta are 512 bit times of the line. Not modelled: preemption (802.3br), by which a pause
// frame need not wait for the frame before it; the delay of the sender's PHY beyond its reaction.
// Threading: one thread each. Nothing is allocated after construction.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "emulator/base/time.h"
#include "emulator/link/spec.h"

namespace farspan::link {

inline constexpr int kPfcPriorities = 8;
inline constexpr uint32_t kPauseWireBytes = 84;  // a MAC control frame of 64 octets

struct HeadroomTerm {
  std::string name;
  uint64_t bytes = 0;
};
// Term by term; needs the sender's line rate.
std::vector<HeadroomTerm> PfcHeadroomTerms(const PfcSpec& pfc);
uint64_t PfcHeadroom(const PfcSpec& pfc);

// How long a station may go on starting frames after it has received a pause frame: 60 quanta at
// 10 Gb/s, 80 at 25, 118 at 40, 394 at 100, 905 at 400 (802.3 31B.3.7); between two of these speeds
// the quanta of the higher one, above 400 Gb/s the time of 400.
TimeNs PfcReaction(Rate line_rate);
// Rounded down: a pause is never taken for longer than it is.
TimeNs QuantaTime(uint32_t quanta, Rate line_rate);

// A class has begun, or ceased, to ask its sender to pause.
struct PauseEvent {
  TimeNs at{};
  uint8_t traffic_class = 0;
  uint8_t priority = 0;
  bool pause = false;
};
class PauseSink {
 public:
  virtual ~PauseSink() = default;
  virtual void on_pause(const PauseEvent& event) = 0;  // in order of time
};

// What a PFC frame says.
struct PfcFrame {
  uint8_t enabled = 0;                            // class-enable vector: bit p for priority p
  std::array<uint16_t, kPfcPriorities> quanta{};  // 0: go on

  friend bool operator==(const PfcFrame&, const PfcFrame&) = default;
};

// Turns what the queues behind a port ask for into frames, each pause refreshed when half of its
// quanta have passed.
class PfcPacer {
 public:
  // `quanta[p]`: pause time in frames for priority p.
  PfcPacer(const std::array<uint16_t, kPfcPriorities>& quanta, Rate line_rate);

  // From `at` on, priority's queue asks to pause, or no longer. Saying it again changes nothing.
  void want(TimeNs at, unsigned priority, bool pause);
  bool wants(unsigned priority) const { return (wanted_ >> priority & 1) != 0; }
  // When the next frame is due; kNever when there is none to send.
  TimeNs next_deadline() const;
  // The frame to send now, with all that is due by then; `enabled` is 0 where nothing is.
  PfcFrame take(TimeNs now);

 private:
  std::array<uint16_t, kPfcPriorities> quanta_;
  std::array<TimeNs, kPfcPriorities> interval_{};
  std::array<TimeNs, kPfcPriorities> due_;  // of the priority's next frame
  uint8_t wanted_ = 0;
  uint8_t told_ = 0;  // what the sender was told last
};

// Adds up the time for which something was paused.
class PauseTimer {
 public:
  // Paused from `now` to `until`, whatever was said before.
  void set(TimeNs now, TimeNs until) {
    total_ = total(now);
    since_ = now;
    until_ = until;
  }
  TimeNs total(TimeNs now) const {
    const TimeNs end = now < until_ ? now : until_;
    return end > since_ ? total_ + (end - since_) : total_;
  }

 private:
  TimeNs since_{};
  TimeNs until_{};
  TimeNs total_{};
};

}  // namespace farspan::link
