// DPDK for a test program: EAL starts once in a process, on ordinary memory, with one pool of
// packets. Make it with testing::AddGlobalTestEnvironment; pool() is there while tests run.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "emulator/dpdk/control_thread.h"
#include "emulator/dpdk/eal.h"

namespace farspan::dpdk {

class EalEnvironment : public testing::Environment {
 public:
  struct Needs {
    const char* pool;  // its name
    uint32_t mbufs;
    uint32_t data_room;  // of each, with headroom
    uint64_t eal_bytes = uint64_t{64} << 20;
  };

  explicit EalEnvironment(const Needs& needs) : needs_(needs) {}

  void SetUp() override {
    EalOptions options;
    options.memory.plan.eal_bytes = needs_.eal_bytes;
    options.cpus = CpusAtStart();
    options.polling_cpus = ChoosePollingCpus(options.cpus, 1).cpus;
    auto eal = Eal::Start(options);
    ASSERT_TRUE(eal.has_value()) << eal.error().text();
    eal_ = std::move(*eal);
    ASSERT_EQ(eal_->polling_lcores().size(), 1u);
    auto pool = MakePacketPool(needs_.pool, needs_.mbufs, needs_.data_room, 32);
    ASSERT_TRUE(pool.has_value()) << pool.error().text();
    pool_ = std::move(*pool);
  }
  void TearDown() override {
    pool_.reset();
    eal_.reset();
  }
  rte_mempool* pool() const { return pool_.get(); }

 private:
  Needs needs_;
  std::unique_ptr<Eal> eal_;
  Mempool pool_;
};

}  // namespace farspan::dpdk
