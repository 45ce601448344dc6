#include "transports/drivers/udp/refusal.h"

#include <fmt/format.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>

namespace farspan::udp {
namespace {

constexpr size_t kIpv4Header = 20, kIpv6Header = 40, kUdpHeader = 8;

bool IsV6(const SocketAddress& address) { return address.storage.ss_family == AF_INET6; }

// With its headers from IP's on.
size_t OnTheWire(size_t bytes, const SocketAddress& to) {
  return bytes + kUdpHeader + (IsV6(to) ? kIpv6Header : kIpv4Header);
}

// The interface that has the address, and its MTU.
void FindInterface(int fd, const SocketAddress& local, PathMtu& path) {
  ifaddrs* all = nullptr;
  if (getifaddrs(&all) != 0) return;
  const std::unique_ptr<ifaddrs, void (*)(ifaddrs*)> owner(all, freeifaddrs);
  for (const ifaddrs* one = all; one != nullptr; one = one->ifa_next) {
    if (one->ifa_addr == nullptr || one->ifa_addr->sa_family != local.storage.ss_family) continue;
    SocketAddress address;
    address.length = local.length;
    std::memcpy(&address.storage, one->ifa_addr, local.length);
    if (HostOf(address) != HostOf(local)) continue;
    ifreq request{};
    std::strncpy(request.ifr_name, one->ifa_name, sizeof request.ifr_name - 1);
    if (ioctl(fd, SIOCGIFMTU, &request) != 0) return;
    path.interface = one->ifa_name;
    path.interface_bytes = static_cast<size_t>(request.ifr_mtu);
    return;
  }
}

std::string TooLong(const Refusal& refusal, const std::optional<PathMtu>& path) {
  const std::string to = HostOf(refusal.to);
  const std::string what = refusal.bytes == 0
                               ? "datagrams are too long"
                               : fmt::format("a datagram of {} B is too long", refusal.bytes);
  const size_t all = OnTheWire(refusal.bytes, refusal.to);
  if (!path || all <= path->bytes) {
    return fmt::format(
        "{} for the path to {} (EMSGSIZE): make it shorter (--payload) or raise the MTU", what, to);
  }
  const bool narrow_hop = path->interface_bytes > path->bytes;
  const std::string limit =
      path->interface.empty() ? fmt::format("the path to {} takes {}", to, path->bytes)
      : narrow_hop            ? fmt::format("the path to {} takes {}, less than {}'s MTU of {}", to,
                                            path->bytes, path->interface, path->interface_bytes)
                              : fmt::format("the MTU of {} is {}", path->interface, path->bytes);
  return fmt::format(
      "{}: it is {} B with its IP header, and {} (EMSGSIZE): lower --payload by {} "
      "or more, or raise {}",
      what, all, limit, all - path->bytes, narrow_hop ? "the MTU of the narrowest hop" : "the MTU");
}

std::string Meaning(int error, const SocketAddress& to) {
  switch (error) {
    case EPERM:
      return "this host's firewall refuses them (EPERM; nft list ruleset, iptables -L OUTPUT)";
    case ENETUNREACH:
    case EHOSTUNREACH:
    case ENETDOWN:
    case EINVAL:
      return fmt::format("this host has no way there from the local address ({}; ip route get {})",
                         strerrorname_np(error), HostOf(to));
    case EACCES:
      return fmt::format("a broadcast address, or a route prohibits it (EACCES; ip route get {})",
                         HostOf(to));
    default:
      return std::strerror(error);
  }
}

}  // namespace

std::optional<PathMtu> FindMtu(const SocketAddress& from, const SocketAddress& to) {
  const int fd = ::socket(to.storage.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return std::nullopt;
  const SocketAddress local = WithPort(from, 0);
  int mtu = 0;
  socklen_t length = sizeof mtu;
  PathMtu path;
  if (bind(fd, local.get(), local.length) == 0 && connect(fd, to.get(), to.length) == 0 &&
      getsockopt(fd, IsV6(to) ? IPPROTO_IPV6 : IPPROTO_IP, IsV6(to) ? IPV6_MTU : IP_MTU, &mtu,
                 &length) == 0) {
    path.bytes = static_cast<size_t>(mtu);
    FindInterface(fd, LocalAddress(fd), path);
  }
  ::close(fd);
  if (path.bytes == 0) return std::nullopt;
  return path;
}

bool IsTooLong(size_t bytes, const SocketAddress& to, const PathMtu& path) {
  return OnTheWire(bytes, to) > path.bytes;
}

// What ICMP says is no more than a hint.
bool IsForGood(const Refusal& refusal) {
  return refusal.error == EMSGSIZE && refusal.teller.length == 0;
}

std::string Explain(const Refusal& refusal, const std::optional<PathMtu>& path) {
  if (refusal.error == EMSGSIZE) return TooLong(refusal, path);
  if (refusal.teller.length == 0) {
    return fmt::format("the kernel does not send datagrams to {}: {}", ToText(refusal.to),
                       Meaning(refusal.error, refusal.to));
  }
  const std::string teller = HostOf(refusal.teller);
  if (refusal.error == ECONNREFUSED) {
    return fmt::format(
        "{} answers that nobody receives at {} (ICMP port unreachable): is the peer "
        "running?",
        teller, ToText(refusal.to));
  }
  return fmt::format("{} answers for {} by ICMP: {}", teller, ToText(refusal.to),
                     std::strerror(refusal.error));
}

}  // namespace farspan::udp
