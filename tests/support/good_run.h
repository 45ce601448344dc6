// The record of a run that did all well, for tests to spoil.
#pragma once

#include <array>
#include <atomic>
#include <string>

#include "emulator/dpdk/run_record.h"

namespace farspan::dpdk {

inline bool Has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

inline void Add(std::atomic<uint64_t>& counter, uint64_t by) { counter.fetch_add(by); }

// A wire of two ports and one lcore that did all well: 1,000 frames each way, 10 of them lost.
struct GoodRun {
  std::array<PortObservations, 2> seen;
  LatencyHistogram loop;
  RunRecord record;

  GoodRun() {
    loop.add(TimeNs{400}, 1'000'000);
    record.duration = TimeNs{10'000'000'000};
    record.seed = 7;
    record.finished = true;
    record.clock.tick_hz = 2.6e9;
    record.clock.rate_uncertainty_ppm = 0.5;
    record.clock.samples = 40;
    record.lcores.push_back({.cpu = 3, .spins = true, .loop = &loop, .before = {}, .after = {}});
    const std::array<std::string, 2> sites{"chicago", "newyork"};
    for (size_t i = 0; i < 2; ++i) {
      seen[i].lateness.add(TimeNs{1'000}, 990);
      seen[i].arrival_uncertainty.add(TimeNs{1'000}, 1'000);
      PortRecord port;
      port.name = i == 0 ? "eth1" : "eth2";
      port.site = sites[i];
      port.reading.rx_packets = 1'000;
      port.reading.tx_packets = 990;
      port.seen = &seen[i];
      record.ports.push_back(port);
      DirectionRecord d{"chi-nyc", i == 0 ? "ab" : "ba", sites[i], sites[1 - i], {}, {}};
      d.counters.offered_packets = 1'000;
      d.counters.forwarded_packets = 990;
      drops(d, link::Cause::kLoss) = 10;
      record.directions.push_back(d);
    }
  }

  static uint64_t& drops(DirectionRecord& d, link::Cause cause) {
    return d.counters.dropped_packets[static_cast<size_t>(cause)];
  }
  PortReading& reading() { return record.ports[1].reading; }
  PortObservations& out() { return seen[1]; }  // of the port where direction ab ends
  DirectionRecord& ab() { return record.directions[0]; }
  void late_pause() {
    record.ports[0].pause_priorities = 1 << 3;
    record.ports[0].pause_gap = TimeNs{1'000'000};
    seen[0].pause_late_max_ns = 1'000'001;
  }
  void drop_at_the_limit() {
    --ab().counters.dropped_packets[static_cast<size_t>(link::Cause::kLoss)];
    ++ab().counters.dropped_packets[static_cast<size_t>(link::Cause::kTailDrop)];
  }
  // One packet less left by that port, one less came out of the link, ...
  void one_not_sent() { --reading().tx_packets; }
  void one_not_forwarded() {
    --ab().counters.forwarded_packets;
    one_not_sent();
  }
};

}  // namespace farspan::dpdk
