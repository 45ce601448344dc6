// Refusal: a datagram that the kernel would not send, or of which a router or the peer's host said
// by ICMP that it did not arrive; and what that means to a person.
//
// Source: udp(7), ip(7), IP_RECVERR. Asks the kernel for MTUs, so not for the data path. Threading:
// any.
#pragma once

#include <cstddef>
#include <optional>
#include <string>

#include "transports/drivers/address.h"

namespace farspan::udp {

struct Refusal {
  int error = 0;  // errno
  SocketAddress to;
  size_t bytes = 0;      // of the datagram; 0: not known
  SocketAddress teller;  // who said so by ICMP; length 0: this host's kernel
};

// What the kernel's route to an address takes, IP header included, and the interface it leaves by.
struct PathMtu {
  size_t bytes = 0;
  std::string interface;
  size_t interface_bytes = 0;
};
std::optional<PathMtu> FindMtu(const SocketAddress& from, const SocketAddress& to);

// Whether a datagram of so many bytes needs more than the path takes.
bool IsTooLong(size_t bytes, const SocketAddress& to, const PathMtu& path);
// Whether the same will be said of every datagram of that size.
bool IsForGood(const Refusal& refusal);
// What was refused, why, and how to mend it. `path`: where known, for what is too long.
std::string Explain(const Refusal& refusal, const std::optional<PathMtu>& path);

}  // namespace farspan::udp
