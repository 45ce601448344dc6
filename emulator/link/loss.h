// LossModel: which packets the fiber loses.
//
// Keyed by packet, a process runs over the packets of an epoch: the k-th gap, sojourn or burst is a
// function of (key, k). Keyed by wire time, it is a set of bad instants of the fiber, a function of
// (key, wire time) alone: contenders with different traffic meet the same instants, and idling
// costs nothing. A packet is lost if the set meets [start, end), its time on the wire.
//
//                by packet                                 in wire time
//   Bernoulli    geometric gaps                            Poisson points of rate -ln(1-p) / T
//   Gilbert-     geometric sojourns p, r; a packet is      exponential sojourns of rates p / T, r /
//   T; Elliott      lost by the state it finds, then the      lost inside a state at Poisson points
//   of
//                state moves (netem's loss_gilb_ell, but   rate -ln(1-loss) / T, at loss 1 by any
//                the first state is drawn, not "good")     overlap
//   burst        a packet outside begins one with          Poisson starts of rate -ln(1-rate) / T,
//                burst_rate; it and the next, burst_       each bad for burst_frames x T; they may
//                frames in all, are lost                   overlap
//   bit error    geometric gaps between bad bits of        Poisson points of rate -ln(1-BER) x bit
//                frames (without preamble and gap)         rate; harmless in preamble and gap
//   mask         repeated                                  -
//   trace        intervals of packet indices               intervals of ns; lost by any overlap
//   periodic     index = offset modulo period              one instant every period ns
//
// T is the reference frame's time on the wire, so that the reference frame is lost with exactly the
// probability asked for. Gilbert-Elliott in wire time needs no history: the state at t is bad if
// the last point at or before t of a train of rate p / T (bad begins) has no point of a train of
// rate r / T (good begins) between it and t; two such trains are exactly the two-state Markov
// chain.
//
// Exactness: bad instants have fractions of a nanosecond; packets' times are whole nanoseconds that
// tile the wire (see PacketRef), so every instant on a busy wire falls on exactly one packet. A
// packet whose time rounds to nothing is never lost in wire time.
//
// Threading: one thread. Nothing is allocated after construction. Work per packet is bounded: at
// most 64 mask bits, a binary search of the trace, or the cells that the packet's own time covers.
#pragma once

#include <array>
#include <cstdint>

#include "emulator/base/distributions.h"
#include "emulator/base/random.h"
#include "emulator/base/result.h"
#include "emulator/base/time.h"
#include "emulator/base/units.h"
#include "emulator/link/packet_ref.h"
#include "emulator/link/poisson_train.h"
#include "emulator/link/spec.h"

namespace farspan::link {

class LossModel {
 public:
  // `spec` has passed Validate with this rate.
  LossModel(const LossSpec& spec, StreamKey key, uint32_t lane, Rate line_rate);

  // Wire time and the packet index begin again at 0, with the same keys: the same pattern.
  void start_epoch(TimeNs origin);

  // Once for every packet, in order of start; [start, end) is its time on the wire.
  bool lost(TimeNs start, TimeNs end, uint32_t wire_bytes) {
    if (mode_ == Mode::kRuns) {
      const uint64_t index = index_++;
      return index < run_end_ ? run_lost_ : next_run(index);
    }
    if (mode_ == Mode::kBits) {
      const uint64_t bits = frame_bits(wire_bytes);
      if (bits > good_bits_) return bit_error();
      good_bits_ -= bits;
      return false;
    }
    const int64_t from = start.ns - origin_;
    const int64_t to = end.ns - origin_;
    if (from >= clear_from_ && to <= clear_to_) return false;
    return to > from && ((from >= bad_from_ && from < bad_to_) || meets(from, to, wire_bytes));
  }

 private:
  enum class Mode : uint8_t {
    kRuns,      // by packet: runs of packets that share a fate
    kBits,      // by packet: bit errors
    kWireTime,  // bad instants
  };
  static uint64_t frame_bits(uint32_t wire_bytes) {
    return wire_bytes > kPreambleAndGapBytes ? uint64_t{8} * (wire_bytes - kPreambleAndGapBytes)
                                             : 0;
  }

  bool next_run(uint64_t index);  // of the run that begins at `index`
  bool alternate_runs(uint64_t index, uint64_t lost_packets);
  bool gilbert_elliott_run(uint64_t index);
  bool mask_run(uint64_t index);
  bool trace_run(uint64_t index);
  bool periodic_run(uint64_t index);
  bool set_run(bool lost, uint64_t end);
  uint64_t next_gap(const Geometric& gap, RandomPurpose purpose, uint64_t& counter);
  bool bit_error();

  void build_wire_time(Rate line_rate);
  bool meets(int64_t from, int64_t to, uint32_t wire_bytes);
  bool meets_burst(int64_t from, int64_t to);
  bool meets_bit_error(int64_t from, int64_t to, uint32_t wire_bytes);
  bool meets_gilbert_elliott(int64_t from, int64_t to);
  bool meets_trace(int64_t from, int64_t to);
  bool meets_periodic(int64_t from, int64_t to);
  struct Sojourn {
    bool bad;
    Instant until;  // its end, or as far as was looked (beyond the horizon)
  };
  Sojourn sojourn(Instant at, Instant horizon);

  Mode mode_ = Mode::kRuns;
  bool run_lost_ = false;
  uint64_t index_ = 0;      // of the next packet
  uint64_t run_end_ = 0;    // first packet after the current run
  uint64_t good_bits_ = 0;  // until the next bit error
  int64_t origin_ = 0;
  // Known of wire time: what lies within [clear_from, clear_to) is safe, what starts in [bad_from,
  // bad_to) is lost.
  int64_t clear_from_ = 0;
  int64_t clear_to_ = 0;
  int64_t bad_from_ = 0;
  int64_t bad_to_ = 0;

  LossSpec spec_;
  StreamKey key_;
  uint32_t lane_;
  // By packet.
  uint64_t gaps_ = 0;      // drawn so far
  uint64_t sojourns_ = 0;  // drawn so far
  uint64_t sojourn_end_ = 0;
  uint64_t loss_at_ = 0;  // next loss inside the sojourn
  bool bad_ = false;
  Geometric gap_;                     // Bernoulli, burst, bit errors
  std::array<Geometric, 2> leave_;    // Gilbert-Elliott, by state: 0 good, 1 bad
  std::array<Geometric, 2> loss_in_;  // by state
  // In wire time.
  PoissonTrain points_;                     // Bernoulli, burst starts, bit errors
  std::array<PoissonTrain, 2> begin_;       // Gilbert-Elliott: good begins, bad begins
  std::array<PoissonTrain, 2> loss_train_;  // by state; none where its loss is 0 or 1
  Instant burst_{};                         // length
};

// Refuses what has no meaning or loses everything; says what and how to mend it. A line_rate of 0
// means no bottleneck, hence no time on the wire.
Result<void> Validate(const LossSpec& spec, Rate line_rate);

// Probability that a packet of this size is lost: exact, except that a trace, which is not random,
// gives the share of its own span. `spec` has passed Validate.
double ExpectedLoss(const LossSpec& spec, uint32_t wire_bytes, Rate line_rate);

}  // namespace farspan::link
