#include "transports/drivers/verbs/device.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "transports/drivers/verbs/failure.h"

namespace farspan::verbs {
namespace {

struct DeviceList {
  int count = 0;
  ibv_device** devices = ibv_get_device_list(&count);
  DeviceList() = default;
  DeviceList(const DeviceList&) = delete;
  DeviceList& operator=(const DeviceList&) = delete;
  ~DeviceList() {
    if (devices != nullptr) ibv_free_device_list(devices);
  }
  std::span<ibv_device*> all() const {
    return {devices, devices == nullptr ? 0 : static_cast<size_t>(count)};
  }
};

GidType TypeOf(uint32_t type) {
  if (type == IBV_GID_TYPE_ROCE_V2) return GidType::kRoceV2;
  return type == IBV_GID_TYPE_ROCE_V1 ? GidType::kRoceV1 : GidType::kInfiniBand;
}

void AddGids(ibv_device* device, std::vector<PortGid>& gids) {
  const Context context(ibv_open_device(device));
  ibv_device_attr limits{};
  if (context == nullptr || ibv_query_device(context.get(), &limits) != 0) return;
  std::vector<ibv_gid_entry> entries(256);
  const ssize_t count = ibv_query_gid_table(context.get(), entries.data(), entries.size(), 0);
  for (ssize_t i = 0; i < count; ++i) {
    const ibv_gid_entry& entry = entries[static_cast<size_t>(i)];
    ibv_port_attr port{};
    const auto number = static_cast<uint8_t>(entry.port_num);
    if (ibv_query_port(context.get(), number, &port) != 0) continue;
    PortGid& one = gids.emplace_back();
    one.device = ibv_get_device_name(device);
    one.port = number;
    one.active = port.state == IBV_PORT_ACTIVE;
    one.index = entry.gid_index;
    one.type = TypeOf(entry.gid_type);
    std::memcpy(one.gid.data(), entry.gid.raw, one.gid.size());
  }
}

std::string MemoryLimit() {
  rlimit limit{};
  getrlimit(RLIMIT_MEMLOCK, &limit);
  return limit.rlim_cur == RLIM_INFINITY ? "unlimited"
                                         : fmt::format("{} KiB", limit.rlim_cur / 1024);
}

}  // namespace

tl::unexpected<Error> VerbsError(const std::string& what) {
  return Fail(ErrorCode::kMachine, fmt::format("{}: {}", what, std::strerror(errno)));
}

Result<std::vector<PortGid>> ListGids() {
  const DeviceList list;
  if (list.all().empty()) {
    return Fail(ErrorCode::kMachine,
                "this machine has no RDMA device (ibv_devices lists them; software RoCE: modprobe "
                "rdma_rxe, then rdma link add rxe0 type rxe netdev eth0)");
  }
  std::vector<PortGid> gids;
  for (ibv_device* device : list.all()) AddGids(device, gids);
  return gids;
}

Result<Device> Device::Open(const PortChoice& choice) {
  const auto gids = ListGids();
  if (!gids) return tl::unexpected(gids.error());
  auto chosen = ChooseGid(*gids, choice);
  if (!chosen) return tl::unexpected(chosen.error());
  Device made;
  made.chosen_ = std::move(*chosen);
  const DeviceList list;
  for (ibv_device* device : list.all()) {
    if (made.chosen_.device == ibv_get_device_name(device)) {
      made.context_.reset(ibv_open_device(device));
    }
  }
  const std::string name = made.name();
  if (made.context_ == nullptr) return VerbsError(fmt::format("{} cannot be opened", name));
  made.domain_.reset(ibv_alloc_pd(made.context()));
  if (made.domain_ == nullptr) {
    return VerbsError(fmt::format("{} gives no protection domain", name));
  }
  ibv_port_attr port{};
  if (ibv_query_port(made.context(), made.port(), &port) != 0) {
    return VerbsError(fmt::format("{} does not answer", name));
  }
  made.mtu_ = port.active_mtu;
  return made;
}

std::string Device::name() const { return fmt::format("{}:{}", chosen_.device, chosen_.port); }

std::string Device::explain(const ibv_wc& completion) const { return Explain(name(), completion); }

Result<Region> Device::register_memory(void* data, size_t bytes, int access) const {
  Region region(ibv_reg_mr(domain(), data, bytes, access));
  if (region == nullptr) {
    return VerbsError(
        fmt::format("{} KiB cannot be registered with {} (locked memory: {}; raise it "
                    "with ulimit -l)",
                    bytes / 1024, name(), MemoryLimit()));
  }
  return region;
}

Result<Channel> Device::make_channel() const {
  Channel channel(ibv_create_comp_channel(context()));
  if (channel == nullptr || fcntl(channel->fd, F_SETFL, O_NONBLOCK) != 0) {
    return VerbsError(fmt::format("{} gives no completion channel", name()));
  }
  return channel;
}

Result<CompletionQueue> Device::make_queue(int entries, ibv_comp_channel* channel) const {
  CompletionQueue queue(ibv_create_cq(context(), entries, nullptr, channel, 0));
  if (queue == nullptr) {
    return VerbsError(fmt::format("{} gives no completion queue of {} entries", name(), entries));
  }
  return queue;
}

}  // namespace farspan::verbs
