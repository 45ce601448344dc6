// An RDMA device opened at one port with one GID, and memory registered with it.
//
// Source: libibverbs (rdma-core). Only RoCE ports: InfiniBand's addresses also need a subnet
// manager's routes. Threading: as the user's. Ownership: what is made of a device must end before
// it does.
#pragma once

#include <infiniband/verbs.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "emulator/base/result.h"
#include "transports/drivers/verbs/gid.h"

namespace farspan::verbs {

template <auto Close>
struct Closer {
  template <typename T>
  void operator()(T* thing) const {
    Close(thing);
  }
};
using Context = std::unique_ptr<ibv_context, Closer<ibv_close_device>>;
using Domain = std::unique_ptr<ibv_pd, Closer<ibv_dealloc_pd>>;
using Region = std::unique_ptr<ibv_mr, Closer<ibv_dereg_mr>>;
using Channel = std::unique_ptr<ibv_comp_channel, Closer<ibv_destroy_comp_channel>>;
using CompletionQueue = std::unique_ptr<ibv_cq, Closer<ibv_destroy_cq>>;
using QueuePair = std::unique_ptr<ibv_qp, Closer<ibv_destroy_qp>>;

// What failed and why, as errno tells.
tl::unexpected<Error> VerbsError(const std::string& what);

class Device {
 public:
  static Result<Device> Open(const PortChoice& choice);

  ibv_context* context() const { return context_.get(); }
  ibv_pd* domain() const { return domain_.get(); }
  uint8_t port() const { return chosen_.port; }
  uint8_t gid_index() const { return static_cast<uint8_t>(chosen_.index); }
  const Gid& gid() const { return chosen_.gid; }
  ibv_mtu mtu() const { return mtu_; }
  uint32_t mtu_bytes() const { return 128u << mtu_; }
  std::string name() const;
  // What a completion that is no success means: which queue pair, which status, what to check.
  std::string explain(const ibv_wc& completion) const;

  Result<Region> register_memory(void* data, size_t bytes, int access) const;
  // A channel whose descriptor does not block, for poll.
  Result<Channel> make_channel() const;
  Result<CompletionQueue> make_queue(int entries, ibv_comp_channel* channel) const;

 private:
  Context context_;
  Domain domain_;
  PortGid chosen_;
  ibv_mtu mtu_ = IBV_MTU_1024;
};

// All ports' GIDs; an error where the machine has no device at all.
Result<std::vector<PortGid>> ListGids();

}  // namespace farspan::verbs
