#include "emulator/sim/sim_link.h"

#include <algorithm>

namespace farspan::sim {

void SimLink::send(link::PacketRef packet) {
  packet.due = scheduler_.now();
  link_.offer(packet.due, std::span(&packet, 1));
  wake();
}

void SimLink::wake() { scheduler_.set(*this, std::max(scheduler_.now(), link_.next_deadline())); }

void SimLink::run(TimeNs now) {
  while (const size_t released = link_.release(now, out_)) {
    far_.receive(now, std::span(out_).first(released));
  }
  wake();
}

}  // namespace farspan::sim
