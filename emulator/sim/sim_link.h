// SimLink: a link in a simulation, between the ports of two simulated hosts.
//
// It polls itself at the link's deadlines, so hosts only send and receive. Everything that the link
// gives back reaches the receiver, dropped packets with their verdict among it: a host that counts
// only what a real one would see ignores those with kDropped.
// Threading: one thread. Ownership: none; scheduler, link and receiver outlive it.
#pragma once

#include <array>
#include <span>

#include "emulator/link/link.h"
#include "emulator/sim/scheduler.h"

namespace farspan::sim {

class Receiver {
 public:
  virtual ~Receiver() = default;
  // At `now`, which is every packet's `due`.
  virtual void receive(TimeNs now, std::span<const link::PacketRef> packets) = 0;
};

class SimLink final : private Task {
 public:
  SimLink(Scheduler& scheduler, link::Link& link, Receiver& far)
      : scheduler_(scheduler), link_(link), far_(far) {}
  ~SimLink() override { scheduler_.cancel(*this); }
  SimLink(const SimLink&) = delete;
  SimLink& operator=(const SimLink&) = delete;

  // Packets arrive at the link now; `due` is set here.
  void send(link::PacketRef packet);
  // After a change to the link from outside.
  void wake();

 private:
  void run(TimeNs now) override;

  Scheduler& scheduler_;
  link::Link& link_;
  Receiver& far_;
  std::array<link::PacketRef, 64> out_;
};

}  // namespace farspan::sim
