#include "transports/drivers/verbs/ud_address.h"

#include <cstring>

#include "emulator/base/check.h"

namespace farspan::verbs {
namespace {

constexpr uint32_t kAddressBytes = sizeof(Gid) + sizeof(uint32_t);
constexpr size_t kIpv4At = 20;
constexpr uint8_t kCe = 3;

// As Linux tells them apart (ib_get_rdma_header_version): where IPv4 stands, what is before it may
// be anything, even what begins as IPv6; then the checksum decides.
bool IsIpv4(std::span<const uint8_t, kGrhBytes> header) {
  if (header[0] >> 4 != 6) return true;
  if (header[kIpv4At] != 0x45) return false;
  uint32_t sum = 0;
  for (size_t i = kIpv4At; i < kGrhBytes; i += 2) sum += (header[i] << 8) + header[i + 1];
  sum = (sum & 0xffff) + (sum >> 16);
  return ((sum & 0xffff) + (sum >> 16)) == 0xffff;
}

}  // namespace

transport::Address ToCore(const UdAddress& address) {
  transport::Address out;
  std::memcpy(out.bytes.data(), address.gid.data(), sizeof(Gid));
  std::memcpy(out.bytes.data() + sizeof(Gid), &address.queue_pair, sizeof address.queue_pair);
  out.size = kAddressBytes;
  return out;
}

bool IsUdAddress(const transport::Address& address) { return address.size == kAddressBytes; }

UdAddress FromCore(const transport::Address& address) {
  FARSPAN_CHECK(IsUdAddress(address));
  UdAddress out;
  std::memcpy(out.gid.data(), address.bytes.data(), sizeof(Gid));
  std::memcpy(&out.queue_pair, address.bytes.data() + sizeof(Gid), sizeof out.queue_pair);
  return out;
}

Gid SourceOf(std::span<const uint8_t, kGrhBytes> header) {
  Gid gid{};
  if (IsIpv4(header)) {
    gid[10] = gid[11] = 0xff;
    std::memcpy(gid.data() + 12, header.data() + kIpv4At + 12, 4);
  } else {
    std::memcpy(gid.data(), header.data() + 8, gid.size());
  }
  return gid;
}

bool IsMarked(std::span<const uint8_t, kGrhBytes> header) {
  const int traffic_class =
      IsIpv4(header) ? header[kIpv4At + 1] : (header[0] << 4 | header[1] >> 4);
  return (traffic_class & 3) == kCe;
}

}  // namespace farspan::verbs
