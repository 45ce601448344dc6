#include "emulator/dpdk/kernel_interface.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <ifaddrs.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netlink/netlink.h>
#include <netlink/route/link.h>
#include <netlink/socket.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <string_view>
#include <vector>

#include "emulator/base/nearest.h"

namespace farspan::dpdk {
namespace {

constexpr short kFlags = IFF_UP | IFF_PROMISC | IFF_NOARP;

struct LinkDeleter {
  void operator()(rtnl_link* link) const { rtnl_link_put(link); }
};
using Link = std::unique_ptr<rtnl_link, LinkDeleter>;

// A socket for each query: cheap beside its purpose, and it needs no lock. Null if there is none.
Link QueryLink(const std::string& name) {
  const std::unique_ptr<nl_sock, void (*)(nl_sock*)> socket(nl_socket_alloc(), nl_socket_free);
  rtnl_link* link = nullptr;
  if (socket == nullptr || nl_connect(socket.get(), NETLINK_ROUTE) != 0 ||
      rtnl_link_get_kernel(socket.get(), 0, name.c_str(), &link) != 0) {
    return nullptr;
  }
  return Link(link);
}

std::string NearestInterface(const std::string& name) {
  std::vector<std::string> names;
  if (struct if_nameindex* all = if_nameindex(); all != nullptr) {
    for (const struct if_nameindex* i = all; i->if_index != 0; ++i) names.emplace_back(i->if_name);
    if_freenameindex(all);
  }
  const std::vector<std::string_view> views(names.begin(), names.end());
  return DidYouMean(name, views);
}

// An IPv4 or IPv6 address of the interface in text; link-local IPv6 does not count, it goes with
// IPv6 itself.
std::string AddressOf(const std::string& name) {
  std::string found;
  ifaddrs* all = nullptr;
  if (getifaddrs(&all) != 0) return found;
  for (const ifaddrs* i = all; i != nullptr; i = i->ifa_next) {
    if (name != i->ifa_name || i->ifa_addr == nullptr) continue;
    std::array<char, INET6_ADDRSTRLEN> text{};
    if (i->ifa_addr->sa_family == AF_INET) {
      const auto* address = reinterpret_cast<const sockaddr_in*>(i->ifa_addr);
      found = inet_ntop(AF_INET, &address->sin_addr, text.data(), text.size());
    } else if (i->ifa_addr->sa_family == AF_INET6) {
      const auto* address = reinterpret_cast<const sockaddr_in6*>(i->ifa_addr);
      if (IN6_IS_ADDR_LINKLOCAL(&address->sin6_addr)) continue;
      found = inet_ntop(AF_INET6, &address->sin6_addr, text.data(), text.size());
    }
  }
  freeifaddrs(all);
  return found;
}

std::string Ipv6Switch(const std::string& name) {
  return "/proc/sys/net/ipv6/conf/" + name + "/disable_ipv6";
}

// '0' or '1'; 0 where IPv6 is not there at all.
char ReadSwitch(const std::string& path) {
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return 0;
  char value = 0;
  if (read(file, &value, 1) != 1) value = 0;
  close(file);
  return value;
}

bool WriteSwitch(const std::string& path, char value) {
  const int file = open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (file < 0) return false;
  const bool written = write(file, &value, 1) == 1;
  close(file);
  return written;
}

ifreq Request(const std::string& name) {
  ifreq request{};
  name.copy(request.ifr_name, IFNAMSIZ - 1);
  return request;
}

bool ReadEthtool(int socket, const std::string& name, uint32_t command, uint32_t& value) {
  ethtool_value query{.cmd = command, .data = 0};
  ifreq request = Request(name);
  request.ifr_data = reinterpret_cast<char*>(&query);
  const bool known = ioctl(socket, SIOCETHTOOL, &request) == 0;
  value = query.data;
  return known;
}

bool WriteEthtool(int socket, const std::string& name, uint32_t command, uint32_t value) {
  ethtool_value query{.cmd = command, .data = value};
  ifreq request = Request(name);
  request.ifr_data = reinterpret_cast<char*>(&query);
  return ioctl(socket, SIOCETHTOOL, &request) == 0;
}

// Clears `bit` of a setting; true if that changed something.
bool SwitchOff(int socket, const std::string& name, uint32_t get, uint32_t set, uint32_t bit) {
  uint32_t value = 0;
  return ReadEthtool(socket, name, get, value) && (value & bit) != 0 &&
         WriteEthtool(socket, name, set, value & ~bit);
}

void SwitchOn(int socket, const std::string& name, uint32_t get, uint32_t set, uint32_t bit) {
  uint32_t value = 0;
  if (ReadEthtool(socket, name, get, value)) WriteEthtool(socket, name, set, value | bit);
}

tl::unexpected<Error> NotPermitted(const std::string& what, const std::string& name) {
  return Fail(ErrorCode::kMachine,
              fmt::format("no permission to {}: run with sudo, or give the program "
                          "CAP_NET_ADMIN and CAP_NET_RAW (sudo setcap "
                          "cap_net_admin,cap_net_raw,cap_ipc_lock+ep PROGRAM)",
                          what),
              "interface " + name);
}

}  // namespace

KernelInterface::KernelInterface(std::string name)
    : name_(std::move(name)), control_(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {}

Result<std::unique_ptr<KernelInterface>> KernelInterface::Take(const std::string& name) {
  std::unique_ptr<KernelInterface> interface(new KernelInterface(name));
  if (auto free = interface->check_free(); !free) return tl::unexpected(free.error());
  if (auto locked = interface->take_lock(); !locked) return tl::unexpected(locked.error());
  if (auto prepared = interface->prepare(); !prepared) return tl::unexpected(prepared.error());
  return interface;
}

KernelInterface::~KernelInterface() {
  restore();
  if (lock_ >= 0) close(lock_);
  if (control_ >= 0) close(control_);
}

Result<void> KernelInterface::check_free() const {
  const std::string where = "interface " + name_;
  const Link link = QueryLink(name_);
  if (link == nullptr) {
    const std::string nearest = NearestInterface(name_);
    return Fail(
        ErrorCode::kInvalid,
        fmt::format("there is no such interface in this network namespace{}{}",
                    nearest.empty() ? "; ip -brief link shows those there are" : "; ", nearest),
        where);
  }
  if ((rtnl_link_get_flags(link.get()) & IFF_LOOPBACK) != 0) {
    return Fail(ErrorCode::kInvalid, "a loopback interface cannot be a port", where);
  }
  if (rtnl_link_get_master(link.get()) != 0) {
    return Fail(ErrorCode::kMachine,
                fmt::format("it belongs to a bridge or bond, which takes its frames too; take it "
                            "out with: sudo ip link set dev {} nomaster",
                            name_),
                where);
  }
  if (const std::string address = AddressOf(name_); !address.empty()) {
    return Fail(ErrorCode::kMachine,
                fmt::format("it has the address {}, so this machine talks on it; a port must have "
                            "none: sudo ip address flush dev {}",
                            address, name_),
                where);
  }
  const int packets = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
  if (packets < 0) return NotPermitted("open packet sockets", name_);
  close(packets);
  return {};
}

// Abstract Unix names belong to the network namespace, as interfaces do, and vanish with their
// process.
Result<void> KernelInterface::take_lock() {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string path = "farspan/port/" + name_;
  path.copy(address.sun_path + 1, sizeof(address.sun_path) - 1);
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + path.size());
  lock_ = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (bind(lock_, reinterpret_cast<sockaddr*>(&address), size) == 0 && listen(lock_, 1) == 0) {
    return {};
  }
  std::string holder = "another farspan-emulator";
  ucred credentials{};
  socklen_t credentials_size = sizeof(credentials);
  const int peer = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (connect(peer, reinterpret_cast<sockaddr*>(&address), size) == 0 &&
      getsockopt(peer, SOL_SOCKET, SO_PEERCRED, &credentials, &credentials_size) == 0) {
    holder += fmt::format(" (process {0}; end it with: sudo kill {0})", credentials.pid);
  }
  close(peer);
  return Fail(ErrorCode::kMachine, "the port is busy: it is held by " + holder,
              "interface " + name_);
}

Result<void> KernelInterface::prepare() {
  const Link link = QueryLink(name_);
  if (link != nullptr) mtu_ = rtnl_link_get_mtu(link.get());
  const std::string ipv6 = Ipv6Switch(name_);
  if (ReadSwitch(ipv6) == '0') {
    if (!WriteSwitch(ipv6, '1')) return NotPermitted("switch IPv6 off (" + ipv6 + ")", name_);
    ipv6_disabled_ = true;
  }
  gro_disabled_ = SwitchOff(control_, name_, ETHTOOL_GGRO, ETHTOOL_SGRO, 1);
  lro_disabled_ = SwitchOff(control_, name_, ETHTOOL_GFLAGS, ETHTOOL_SFLAGS, ETH_FLAG_LRO);

  ifreq request = Request(name_);
  if (ioctl(control_, SIOCGIFFLAGS, &request) != 0) {
    return Fail(ErrorCode::kMachine, std::strerror(errno), "interface " + name_);
  }
  const auto missing = static_cast<short>(kFlags & ~request.ifr_flags);
  request.ifr_flags = static_cast<short>(request.ifr_flags | kFlags);
  if (ioctl(control_, SIOCSIFFLAGS, &request) != 0) {
    return NotPermitted("bring it up, promiscuous", name_);
  }
  flags_set_ = missing;
  return {};
}

void KernelInterface::restore() {
  ifreq request = Request(name_);
  if (flags_set_ != 0 && ioctl(control_, SIOCGIFFLAGS, &request) == 0) {
    request.ifr_flags = static_cast<short>(request.ifr_flags & ~flags_set_);
    ioctl(control_, SIOCSIFFLAGS, &request);
  }
  if (gro_disabled_) SwitchOn(control_, name_, ETHTOOL_GGRO, ETHTOOL_SGRO, 1);
  if (lro_disabled_) SwitchOn(control_, name_, ETHTOOL_GFLAGS, ETHTOOL_SFLAGS, ETH_FLAG_LRO);
  if (ipv6_disabled_) WriteSwitch(Ipv6Switch(name_), '0');
}

bool KernelInterface::link_up() const {
  const Link link = QueryLink(name_);
  return link != nullptr && (rtnl_link_get_flags(link.get()) & IFF_RUNNING) != 0;
}

KernelCounters KernelInterface::counters() const {
  KernelCounters counters;
  const Link link = QueryLink(name_);
  if (link == nullptr) return counters;
  const auto stat = [&](rtnl_link_stat_id_t id) { return rtnl_link_get_stat(link.get(), id); };
  return {.rx_packets = stat(RTNL_LINK_RX_PACKETS),
          .rx_bytes = stat(RTNL_LINK_RX_BYTES),
          .rx_dropped = stat(RTNL_LINK_RX_DROPPED),
          .rx_errors = stat(RTNL_LINK_RX_ERRORS),
          .tx_packets = stat(RTNL_LINK_TX_PACKETS),
          .tx_bytes = stat(RTNL_LINK_TX_BYTES),
          .tx_dropped = stat(RTNL_LINK_TX_DROPPED)};
}

}  // namespace farspan::dpdk
