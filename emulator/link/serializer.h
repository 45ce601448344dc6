// Serializer: when the bits of frames have left a port, exactly.
//
// A frame of n octets takes n x 8e9 / rate ns. The fraction is carried from frame to frame through
// a busy period, so that a million frames of 84 octets at 400 Gb/s take 1.68 ms to the nanosecond.
// Times are reported rounded up: no bit is early. A frame that has begun ends at the rate at which
// it began; a change of rate rounds the port's busy time up to a whole nanosecond, once.
#pragma once

#include <cstdint>

#include "emulator/base/time.h"
#include "emulator/base/units.h"

namespace farspan::link {

class Serializer {
 public:
  explicit Serializer(Rate rate) : rate_(rate.bits_per_s) {}

  Rate rate() const { return {rate_}; }
  bool unlimited() const { return rate_ == 0; }
  // Until when the port is busy, rounded up.
  TimeNs busy_until() const { return {busy_.ns + (fraction_ != 0 ? 1 : 0)}; }

  void set_rate(Rate rate) {
    busy_ = busy_until();
    fraction_ = 0;
    rate_ = rate.bits_per_s;
    last_bytes_ = 0;
  }

  // Puts a frame on the wire at `ready` or, if the port is busy then, right after the last one.
  // Returns the start, rounded up; busy_until() is then the end.
  TimeNs send(TimeNs ready, uint32_t bytes) {
    if (ready > busy_) {  // whole ns: `ready` cannot fall inside busy_'s last, fractional one
      busy_ = ready;
      fraction_ = 0;
    }
    const TimeNs start = busy_until();
    if (rate_ == 0) return start;
    if (bytes != last_bytes_) {
      const uint64_t bit_ns = uint64_t{bytes} * 8'000'000'000u;
      last_bytes_ = bytes;
      last_ns_ = static_cast<int64_t>(bit_ns / rate_);
      last_fraction_ = bit_ns % rate_;
    }
    busy_.ns += last_ns_;
    fraction_ += last_fraction_;
    if (fraction_ >= rate_) {
      fraction_ -= rate_;
      ++busy_.ns;
    }
    return start;
  }

 private:
  uint64_t rate_;
  TimeNs busy_{INT64_MIN};
  uint64_t fraction_ = 0;  // of a ns, in units of 1 / rate_
  uint32_t last_bytes_ = 0;
  int64_t last_ns_ = 0;
  uint64_t last_fraction_ = 0;
};

}  // namespace farspan::link
