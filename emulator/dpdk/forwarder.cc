#include "emulator/dpdk/forwarder.h"

#include <algorithm>
#include <cstring>

namespace farspan::dpdk {
namespace {

constexpr uint8_t kProtocolIcmpv6 = 58;
constexpr uint8_t kNeighborSolicitation = 135;  // RFC 4861, section 4.3
constexpr uint8_t kNeighborAdvertisement = 136;

bool IsGroup(std::span<const uint8_t> bytes) { return (bytes[0] & 1) != 0; }

uint64_t MacAt(std::span<const uint8_t> bytes, size_t offset) {
  uint64_t mac = 0;
  for (size_t i = 0; i < 6; ++i) mac = mac << 8 | bytes[offset + i];
  return mac;
}

size_t Place(uint64_t mac, size_t slots) {
  return static_cast<size_t>((mac * 0x9e3779b97f4a7c15u) >> 40) % slots;
}

}  // namespace

Forwarder::Forwarder(const config::EmulatorConfig& config)
    : wire_(config.mode == config::Mode::kWire),
      by_mac_(!wire_ && config.forwarding == config::Forwarding::kMac),
      macs_(by_mac_ ? kMacSlots : 0) {
  for (size_t site = 0; site < config.sites.size(); ++site) {
    for (const roce::IpPrefix& prefix : config.sites[site].prefixes) {
      entries_.push_back({prefix, static_cast<int>(site)});
    }
  }
  std::stable_sort(entries_.begin(), entries_.end(), [](const Entry& a, const Entry& b) {
    return a.prefix.length > b.prefix.length;
  });
}

int Forwarder::by_mac(std::span<const uint8_t> bytes, int from) {
  if (bytes.size() < roce::kEthernetHeaderBytes) return kNone;
  const uint64_t source = MacAt(bytes, 6);
  macs_[Place(source, kMacSlots)].store(source << 16 | static_cast<uint64_t>(from + 1),
                                        std::memory_order_relaxed);
  if (IsGroup(bytes)) return kAll;
  const uint64_t destination = MacAt(bytes, 0);
  const uint64_t entry = macs_[Place(destination, kMacSlots)].load(std::memory_order_relaxed);
  if (entry >> 16 != destination || entry == 0) return kAll;
  const int site = static_cast<int>(entry & 0xffff) - 1;
  return site == from ? kNone : site;
}

int Forwarder::by_prefix(std::span<const uint8_t> bytes, uint32_t frame_bytes, int from) const {
  const roce::FrameView view = roce::ParseFrame(bytes, frame_bytes, 0);
  if (view.ip_version == 0) {
    const size_t target = view.l3_offset + 24u;  // RFC 826, for Ethernet and IPv4
    if (view.ethertype == roce::kEtherArp && bytes.size() >= target + 4) {
      roce::IpAddress address{};
      std::memcpy(address.data(), bytes.data() + target, 4);
      return longest_match(4, address, from);
    }
    return bytes.size() >= roce::kEthernetHeaderBytes && IsGroup(bytes) ? kAll : kNone;
  }
  if (view.ip_version == 6 && view.protocol == kProtocolIcmpv6 && view.payload_offset != 0 &&
      bytes.size() >= view.payload_offset + 24u) {
    const uint8_t type = bytes[view.payload_offset];
    if (type == kNeighborSolicitation && IsGroup(bytes)) {
      roce::IpAddress address{};
      std::memcpy(address.data(), bytes.data() + view.payload_offset + 8, address.size());
      return longest_match(6, address, from);
    }
    if (type == kNeighborAdvertisement && IsGroup(bytes)) return kAll;
  }
  return IsGroup(bytes) ? kAll : longest_match(view.ip_version, view.dst, from);
}

int Forwarder::longest_match(uint8_t version, const roce::IpAddress& address, int from) const {
  for (const Entry& entry : entries_) {
    if (entry.prefix.contains(version, address)) return entry.site == from ? kNone : entry.site;
  }
  return kNone;
}

}  // namespace farspan::dpdk
