#include "transports/drivers/verbs/gid.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>

#include <algorithm>
#include <cstring>
#include <vector>

namespace farspan::verbs {
namespace {

constexpr Gid kIpv4Prefix{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

bool IsIpv4(const Gid& gid) {
  return std::equal(gid.begin(), gid.begin() + 12, kIpv4Prefix.begin());
}
bool IsLinkLocal(const Gid& gid) { return gid[0] == 0xfe && (gid[1] & 0xc0) == 0x80; }

int Rank(const Gid& gid, const std::optional<Gid>& local) {
  if (local && gid == *local) return 0;
  if (IsIpv4(gid)) return 1;
  return IsLinkLocal(gid) ? 3 : 2;
}

bool IsDevice(const PortGid& one, const std::string& wanted) {
  return wanted.empty() || wanted == one.device ||
         wanted == fmt::format("{}:{}", one.device, one.port);
}

std::string Names(std::span<const PortGid> gids) {
  std::vector<std::string> names;
  for (const PortGid& one : gids) {
    const std::string name = fmt::format("{}:{}", one.device, one.port);
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  }
  return fmt::format("{}", fmt::join(names, ", "));
}

}  // namespace

std::optional<Gid> GidOf(const SocketAddress& address) {
  Gid gid = kIpv4Prefix;
  if (address.length == 0) return std::nullopt;
  if (address.storage.ss_family == AF_INET) {
    std::memcpy(gid.data() + 12, &reinterpret_cast<const sockaddr_in&>(address.storage).sin_addr,
                4);
    return gid;
  }
  if (address.storage.ss_family != AF_INET6) return std::nullopt;
  std::memcpy(gid.data(), &reinterpret_cast<const sockaddr_in6&>(address.storage).sin6_addr, 16);
  return gid;
}

std::string ToText(const Gid& gid) {
  char text[INET6_ADDRSTRLEN] = "?";
  inet_ntop(AF_INET6, gid.data(), text, sizeof text);
  return text;
}

Result<PortGid> ChooseGid(std::span<const PortGid> gids, const PortChoice& choice) {
  std::vector<PortGid> left(gids.begin(), gids.end());
  const auto keep = [&](auto&& good) {
    std::erase_if(left, [&](const PortGid& one) { return !good(one); });
    return !left.empty();
  };
  if (!keep([&](const PortGid& one) { return IsDevice(one, choice.device); })) {
    return choice.device.empty()
               ? Fail(ErrorCode::kMachine,
                      "no RDMA port with an address: is the device's interface up, with an IP "
                      "address? (ibv_devinfo -v; software RoCE: rdma link add rxe0 type rxe netdev "
                      "eth0)")
               : Fail(ErrorCode::kMachine,
                      fmt::format("no RDMA port '{}' with an address; there are "
                                  "{}",
                                  choice.device, gids.empty() ? "none" : Names(gids)));
  }
  const std::string names = Names(left);
  if (!keep([](const PortGid& one) { return one.type != GidType::kInfiniBand; })) {
    return Fail(ErrorCode::kMachine,
                fmt::format("{} is InfiniBand: only RoCE ports can be used", names));
  }
  if (!keep([](const PortGid& one) { return one.active; })) {
    return Fail(ErrorCode::kMachine,
                fmt::format("RDMA port {} is down: set its interface up", names));
  }
  if (choice.gid_index) {
    if (!keep([&](const PortGid& one) { return one.index == *choice.gid_index; })) {
      return Fail(ErrorCode::kMachine, fmt::format("RDMA port {} has no GID with index {} (see "
                                                   "ibv_devinfo -v)",
                                                   names, *choice.gid_index));
    }
  } else if (!keep([](const PortGid& one) { return one.type == GidType::kRoceV2; })) {
    return Fail(ErrorCode::kMachine, fmt::format("RDMA port {} has no RoCEv2 GID: give its "
                                                 "interface an IP address, or name a GID",
                                                 names));
  }
  const auto local = GidOf(choice.local);
  return *std::min_element(left.begin(), left.end(), [&](const PortGid& a, const PortGid& b) {
    return Rank(a.gid, local) < Rank(b.gid, local);
  });
}

}  // namespace farspan::verbs
