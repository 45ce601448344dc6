#include "emulator/dpdk/packet_fanout.h"

#include <linux/if_packet.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cstring>

namespace {
std::atomic<bool> keep_fragments = false;
}  // namespace

namespace farspan::dpdk {
void KeepFragments() { keep_fragments = true; }
}  // namespace farspan::dpdk

extern "C" [[gnu::visibility("default")]] int setsockopt(int fd, int level, int option,
                                                         const void* value,
                                                         socklen_t length) noexcept {
  int fanout = 0;
  if (keep_fragments && level == SOL_PACKET && option == PACKET_FANOUT &&
      length == sizeof(fanout)) {
    std::memcpy(&fanout, value, sizeof(fanout));
    fanout &= ~(PACKET_FANOUT_FLAG_DEFRAG << 16);  // the option's upper half: type and flags
    value = &fanout;
  }
  return static_cast<int>(syscall(SYS_setsockopt, fd, level, option, value, length));
}
