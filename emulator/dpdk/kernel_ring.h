// The rings that an af_packet port shares with the kernel: how large, in the units of packet_mmap.
//
// A ring is blocks of whole frame slots. A slot must hold the frame, its 802.1Q tag and the
// kernel's header before it; an mbuf must hold a slot. The ring must hold 20 ms at the planned
// packet rate, because the default (512 frames) loses silently whenever the poller is kept away for
// a scheduler's tick.
// Source: Linux Documentation/networking/packet_mmap.rst, TPACKET_V2. Pure but for
// FindRingSocket().
#pragma once

#include <cstdint>
#include <string>

namespace farspan::dpdk {

inline constexpr uint32_t kMtuMax = 9'600;  // of any port; every frame lies in one mbuf

struct KernelRing {
  uint32_t frame_bytes = 0;  // of a slot
  uint32_t block_bytes = 0;
  uint32_t frames = 0;

  uint64_t bytes() const { return uint64_t{frame_bytes} * frames; }  // of one of its two rings
  std::string arguments() const;  // for net_af_packet: "blocksz=...,framesz=...,framecnt=..."
};

// At most 64 MiB each for receiving and sending: more packets per second than such a ring holds
// for 20 ms, no af_packet socket can take.
KernelRing PlanKernelRing(uint32_t mtu, uint64_t packets_per_s);

// The driver's own socket for its rings on `interface`: readable while a frame waits to be
// received. -1 if there is none. DPDK keeps it to itself (net_af_packet has no receive interrupts),
// so this looks for it among the process's descriptors; a packet socket of our own as a doorbell
// would make the kernel copy every frame once more. The caller must not read from it or close it.
int FindRingSocket(const std::string& interface);

}  // namespace farspan::dpdk
