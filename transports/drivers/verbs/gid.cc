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

std::string NameOf(const PortGid& one) { return fmt::format("{}:{}", one.device, one.port); }

void AddOnce(std::vector<std::string>& texts, std::string text) {
  if (std::find(texts.begin(), texts.end(), text) == texts.end()) texts.push_back(std::move(text));
}

std::string Joined(const std::vector<std::string>& texts) {
  return fmt::format("{}", fmt::join(texts, ", "));
}

std::vector<std::string> Names(std::span<const PortGid> gids) {
  std::vector<std::string> names;
  for (const PortGid& one : gids) AddOnce(names, NameOf(one));
  return names;
}

std::string HostOf(const Gid& gid) {
  return ToText(gid).substr(IsIpv4(gid) ? std::string_view("::ffff:").size() : 0);
}

// "mlx5_0:1 (10.0.0.1, fd00::1), mlx5_1:1 (10.1.0.1, down)", or "none".
std::string Ports(std::span<const PortGid> gids) {
  std::vector<std::string> ports = Names(gids);
  for (std::string& port : ports) {
    std::vector<std::string> about;
    const char* state = "";
    for (const PortGid& one : gids) {
      if (NameOf(one) != port) continue;
      AddOnce(about, HostOf(one.gid));
      state = one.type == GidType::kInfiniBand ? ", InfiniBand" : one.active ? "" : ", down";
    }
    port += fmt::format(" ({}{})", Joined(about), state);
  }
  return ports.empty() ? "none" : Joined(ports);
}

// Keeps of what can be used the port that has the person's address; an error where that leaves a
// doubt.
Result<void> KeepPortOf(const Gid& local, std::span<const PortGid> gids,
                        std::vector<PortGid>& left) {
  std::vector<std::string> ports;
  for (const PortGid& one : gids) {
    if (one.gid == local) AddOnce(ports, NameOf(one));
  }
  if (ports.empty() && Names(left).size() == 1) return {};
  std::erase_if(left, [&](const PortGid& one) {
    return std::find(ports.begin(), ports.end(), NameOf(one)) == ports.end();
  });
  if (!left.empty()) return {};
  const std::string where =
      ports.empty() ? "is no address of an RDMA port"
                    : fmt::format("is at {}, which cannot be used as asked", Joined(ports));
  return Fail(ErrorCode::kMachine,
              fmt::format("{} {}; there are {}: name one by --verbs-device, or an address of one "
                          "by --local",
                          HostOf(local), where, Ports(gids)));
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
                      fmt::format("no RDMA port '{}' with an address; there are {}", choice.device,
                                  Ports(gids)));
  }
  const std::string names = Joined(Names(left));
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
  if (local && choice.device.empty()) {
    if (auto kept = KeepPortOf(*local, gids, left); !kept) return tl::unexpected(kept.error());
  }
  return *std::min_element(left.begin(), left.end(), [&](const PortGid& a, const PortGid& b) {
    return Rank(a.gid, local) < Rank(b.gid, local);
  });
}

}  // namespace farspan::verbs
