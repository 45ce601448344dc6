// A network interface of the kernel, prepared for the engine and given back as it was.
//
// Prepared: up, promiscuous, IPv6 off (no router solicitations into the wire), NOARP (the kernel
// must not answer what merely passes), GRO and LRO off (frames must stay frames). Refused: an
// interface with addresses, in a bridge or bond, loopback, or held by another engine of the same
// network namespace. The destructor restores what was changed; after SIGKILL that is left undone.
//
// Threads: Take and the destructor on one thread; counters() and link_up() from any. Network
// namespace: that of the process (start the engine with ip netns exec).
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "emulator/base/result.h"

namespace farspan::dpdk {

// The kernel's own counts (rtnetlink, 64 bits), since the interface was made.
struct KernelCounters {
  uint64_t rx_packets = 0;
  uint64_t rx_bytes = 0;
  uint64_t rx_dropped = 0;
  uint64_t rx_errors = 0;
  uint64_t tx_packets = 0;
  uint64_t tx_bytes = 0;
  uint64_t tx_dropped = 0;
};

class KernelInterface {
 public:
  // kInvalid with the nearest name where there is no such interface, kMachine where it cannot be
  // had: permission, addresses on it, held by another engine.
  static Result<std::unique_ptr<KernelInterface>> Take(const std::string& name);
  ~KernelInterface();
  KernelInterface(const KernelInterface&) = delete;
  KernelInterface& operator=(const KernelInterface&) = delete;

  const std::string& name() const { return name_; }
  uint32_t mtu() const { return mtu_; }
  KernelCounters counters() const;
  bool link_up() const;  // carrier: for veth, whether the other end is up

 private:
  explicit KernelInterface(std::string name);
  Result<void> take_lock();
  Result<void> check_free() const;
  Result<void> prepare();
  void restore();

  std::string name_;
  uint32_t mtu_ = 0;
  int lock_ = -1;     // a Unix socket bound to a name that only one process can hold
  int control_ = -1;  // for interface ioctls
  // What to undo.
  short flags_set_ = 0;
  bool ipv6_disabled_ = false;
  bool gro_disabled_ = false;
  bool lro_disabled_ = false;
};

}  // namespace farspan::dpdk
