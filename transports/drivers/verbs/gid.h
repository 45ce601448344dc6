// Which RDMA port and which of its addresses (GIDs) to use.
//
// A RoCE port has one GID per IP address of its interface and RoCE version; perftest's -x, NCCL's
// NCCL_IB_GID_INDEX. Chosen here: RoCEv2, the local IP address that the person named, else IPv4
// before IPv6 before link-local. Never another port than the one asked for: where the local address
// is not at a port that can be used, and no device is named, only a single port is taken for it.
// Pure functions; device.h asks the machine.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "emulator/base/result.h"
#include "transports/drivers/address.h"

namespace farspan::verbs {

using Gid = std::array<uint8_t, 16>;

enum class GidType : uint8_t { kInfiniBand, kRoceV1, kRoceV2 };

struct PortGid {
  std::string device;
  uint8_t port = 1;
  bool active = true;  // the port
  uint32_t index = 0;
  GidType type = GidType::kRoceV2;
  Gid gid{};
};

struct PortChoice {
  std::string device;                 // "mlx5_0", "mlx5_0:2"; empty: any
  std::optional<uint32_t> gid_index;  // none: as above
  SocketAddress local;                // length 0: none
};

// An IPv4 address is the GID ::ffff:a.b.c.d; nothing for an address of no IP family.
std::optional<Gid> GidOf(const SocketAddress& address);
std::string ToText(const Gid& gid);

// `gids`: of all ports of all devices. The error says what the machine lacks.
Result<PortGid> ChooseGid(std::span<const PortGid> gids, const PortChoice& choice);

}  // namespace farspan::verbs
