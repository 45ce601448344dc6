#include "emulator/dpdk/kernel_ring.h"

#include <fmt/format.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <numeric>

#include "emulator/base/check.h"

namespace farspan::dpdk {
namespace {

// tpacket2_hdr and sockaddr_ll, aligned, then the link-layer header before the network header at
// the next multiple of 16: data begins at 66. Rounded up, with room for a tag.
constexpr uint32_t kSlotHeaderBytes = 80;
constexpr uint32_t kTaggedEthernetBytes = 18;
constexpr uint32_t kPage = 4096;
constexpr uint32_t kBlockMax = 64 * 1024;  // the kernel allocates blocks as powers of two pages
constexpr uint64_t kRingMax = 64u << 20;
constexpr uint32_t kFramesMin = 1024;
constexpr uint64_t kHeldMs = 20;

constexpr uint32_t AlignUp(uint32_t a, uint32_t b) { return (a + b - 1) / b * b; }

}  // namespace

std::string KernelRing::arguments() const {
  return fmt::format("blocksz={},framesz={},framecnt={}", block_bytes, frame_bytes, frames);
}

KernelRing PlanKernelRing(uint32_t mtu, uint64_t packets_per_s) {
  FARSPAN_CHECK(mtu <= kMtuMax);
  const uint32_t needed = mtu + kTaggedEthernetBytes + kSlotHeaderBytes;
  KernelRing ring;
  // Of the slot sizes up to a quarter larger than needed, the one that packs most into a block of
  // whole pages; the smallest of those.
  uint32_t best = 0;
  for (uint32_t slot = AlignUp(needed, 1024); slot <= AlignUp(needed + needed / 4, 1024);
       slot += 1024) {
    const uint32_t whole_pages = kPage / std::gcd(slot, kPage);  // so many slots fill pages
    const uint32_t per_block = kBlockMax / slot / whole_pages * whole_pages;
    if (per_block <= best) continue;
    best = per_block;
    ring.frame_bytes = slot;
    ring.block_bytes = per_block * slot;
  }
  const uint64_t held = packets_per_s * kHeldMs / 1000;
  const uint64_t most = kRingMax / ring.frame_bytes;
  ring.frames = AlignUp(static_cast<uint32_t>(std::clamp<uint64_t>(held, kFramesMin, most)), best);
  return ring;
}

int FindRingSocket(const std::string& interface) {
  const unsigned index = if_nametoindex(interface.c_str());
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd", error)) {
    const int fd = std::atoi(entry.path().filename().c_str());
    int domain = 0;
    socklen_t size = sizeof(domain);
    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) != 0 || domain != AF_PACKET) continue;
    sockaddr_ll address{};
    size = sizeof(address);
    if (getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0 &&
        address.sll_ifindex == static_cast<int>(index)) {
      return fd;
    }
  }
  return -1;
}

}  // namespace farspan::dpdk
