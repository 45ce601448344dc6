// Farspan's plugin for NCCL, as a process uses it that has many communicators.
#include <gtest/gtest.h>

#include <cstdlib>
#include <thread>
#include <vector>

#include "transports/doors/nccl_net.h"

namespace farspan::doors {
namespace {

// One ends as another begins: between the last and the first, the transport is made anew.
TEST(NcclPlugin, CommunicatorsOfSeveralThreadsComeAndGo) {
  setenv("FARSPAN_LOCAL", "127.0.0.1", 1);
  setenv("FARSPAN_NET", "tcp", 1);
  const auto library = SharedLibrary::Open(NCCL_PLUGIN);
  ASSERT_TRUE(library) << library.error().text();
  const auto come_and_go = [&] {
    for (int i = 0; i < 300; ++i) {
      const auto net = FindNcclNet(*library, nccl::kNewest);
      ASSERT_TRUE(net);
      ASSERT_EQ((*net)->init(nullptr), nccl::kSuccess);
      ASSERT_EQ((*net)->finalize(), nccl::kSuccess);
    }
  };
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) threads.emplace_back(come_and_go);
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace farspan::doors
