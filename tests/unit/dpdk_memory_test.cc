// The memory plan's arithmetic, what is read of the machine, and the arguments that follow.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <utility>

#include "emulator/dpdk/eal.h"
#include "emulator/dpdk/hugepages.h"
#include "emulator/dpdk/kernel_ring.h"
#include "emulator/dpdk/memory_plan.h"

namespace farspan::dpdk {
namespace {

constexpr uint64_t kGiB = uint64_t{1} << 30;
constexpr uint64_t kMiB = uint64_t{1} << 20;

// 10 Gb/s over 50 ms and a queue of 16 MiB, each way.
MemoryNeed TenGigabit() {
  MemoryNeed need;
  need.directions.assign(2, {.in_flight_bytes = 62'500'000 + 16 * kMiB});
  return need;
}

MachineMemory Machine(uint64_t huge_free, uint64_t available) {
  return {.hugepages = {{.node = 0,
                         .page_bytes = 2 * kMiB,
                         .total = huge_free / (2 * kMiB) + 8,
                         .free = huge_free / (2 * kMiB)}},
          .available_bytes = available};
}

TEST(MemoryPlan, HoldsWhatIsInFlight) {
  const MemoryNeed need = TenGigabit();
  const MemoryPlan plan = PlanMemory(need);
  // Frames just above the copy limit fill the link with most mbufs: 257 + 24 B on the wire each.
  const uint64_t in_flight = need.directions[0].in_flight_bytes;
  const uint64_t held = 2 * (in_flight / 281 + 1);
  EXPECT_GE(plan.mbufs, held);
  EXPECT_LE(plan.mbufs, held + 8'192);
  ASSERT_EQ(plan.byte_ring_bytes.size(), 2u);
  EXPECT_GE(plan.byte_ring_bytes[0], in_flight / 84 * 76);
  EXPECT_LE(plan.byte_ring_bytes[0], in_flight / 10 * 11);
  EXPECT_GE(plan.eal_bytes, plan.mbufs * MbufObjectBytes(plan.data_room_bytes));
}

TEST(MemoryPlan, DeclaredPacketRateAndLargerFramesNeedLess) {
  MemoryNeed need = TenGigabit();
  const MemoryPlan small = PlanMemory(need);
  need.plan_frame_bytes = 1514;
  const MemoryPlan large = PlanMemory(need);
  EXPECT_EQ(large.byte_ring_bytes[0], 0u);
  EXPECT_LT(large.eal_bytes * 3, small.eal_bytes);
  need = TenGigabit();
  for (DirectionNeed& direction : need.directions) direction.packets_max = 1'000;
  EXPECT_LT(PlanMemory(need).mbufs, 10'000u);
}

TEST(MemoryPlan, JumboFramesFitOneMbuf) {
  MemoryNeed need = TenGigabit();
  need.largest_frame_bytes = 9'600;
  EXPECT_GE(PlanMemory(need).data_room_bytes, 9'600u + 128);
  EXPECT_EQ(PlanMemory(TenGigabit()).data_room_bytes, 2'176u);
}

TEST(MemoryChoice, PrefersHugepagesThenOrdinaryMemory) {
  const auto huge = ChooseMemory(TenGigabit(), Machine(8 * kGiB, 8 * kGiB));
  ASSERT_TRUE(huge.has_value());
  EXPECT_TRUE(huge->hugepages);
  EXPECT_TRUE(huge->note.empty());
  const auto ordinary = ChooseMemory(TenGigabit(), Machine(0, 8 * kGiB));
  ASSERT_TRUE(ordinary.has_value());
  EXPECT_FALSE(ordinary->hugepages);
  EXPECT_FALSE(ordinary->note.empty());
}

TEST(MemoryChoice, RefusesWithTheSmallestFrameThatFits) {
  const MachineMemory machine = Machine(0, kGiB);
  const auto refused = ChooseMemory(TenGigabit(), machine);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, ErrorCode::kMachine);
  const std::string& text = refused.error().message;
  const std::string before = "smallest mean frame that fits is ";
  ASSERT_NE(text.find(before), std::string::npos) << text;
  const auto frame =
      static_cast<uint32_t>(std::stoul(text.substr(text.find(before) + before.size())));
  // Exactly the smallest: it fits, one byte less does not.
  MemoryNeed need = TenGigabit();
  need.plan_frame_bytes = frame;
  EXPECT_TRUE(ChooseMemory(need, machine).has_value()) << frame;
  need.plan_frame_bytes = frame - 1;
  EXPECT_FALSE(ChooseMemory(need, machine).has_value()) << frame;
}

TEST(MemoryChoice, NamesTheCommandThatMendsIt) {
  const MachineMemory machine = Machine(64 * kMiB, 16 * kGiB);
  const auto refused = ChooseMemory(TenGigabit(), machine, MemoryKind::kHugepages);
  ASSERT_FALSE(refused.has_value());
  const uint64_t pages =
      machine.hugepages[0].total + MissingHugepages(PlanMemory(TenGigabit()).eal_bytes, machine);
  EXPECT_NE(refused.error().message.find("echo " + std::to_string(pages) +
                                         " | sudo tee /proc/sys/vm/nr_hugepages"),
            std::string::npos)
      << refused.error().message;
}

TEST(MemoryChoice, CountsHugepagesOfTheNodeOnly) {
  MachineMemory machine = Machine(8 * kGiB, 0);
  machine.available_bytes = 100 * kGiB;
  EXPECT_TRUE(ChooseMemory(TenGigabit(), machine, MemoryKind::kHugepages, 0).has_value());
  EXPECT_FALSE(ChooseMemory(TenGigabit(), machine, MemoryKind::kHugepages, 1).has_value());
}

TEST(KernelRing, SlotsHoldTheFrameAndFillPages) {
  for (uint32_t mtu = 68; mtu <= kMtuMax; ++mtu) {
    const KernelRing ring = PlanKernelRing(mtu, 1'000);
    ASSERT_GE(ring.frame_bytes, 66 + 18 + mtu);
    ASSERT_LE(ring.frame_bytes, (84 + mtu) * 5 / 4 + 1'100);
    ASSERT_EQ(ring.block_bytes % ring.frame_bytes, 0u);
    ASSERT_EQ(ring.block_bytes % 4'096, 0u);
    ASSERT_EQ(ring.frames % (ring.block_bytes / ring.frame_bytes), 0u);
  }
}

TEST(KernelRing, HoldsTwentyMillisecondsOrSixtyFourMebibytes) {
  EXPECT_GE(PlanKernelRing(1'500, 1'000'000).frames, 20'000u);
  EXPECT_LT(PlanKernelRing(1'500, 1'000'000).frames, 20'100u);
  EXPECT_GE(PlanKernelRing(1'500, 10).frames, 1'024u);
  EXPECT_LE(PlanKernelRing(1'500, 100'000'000).bytes(), 65 * kMiB);
  // The default mbuf suffices for the default MTU.
  EXPECT_EQ(PlanKernelRing(1'500, 10).frame_bytes, 2'048u);
}

class FakeRoot : public testing::Test {
 protected:
  FakeRoot()
      : root_(testing::TempDir() + "farspan-root-" + std::to_string(getpid()) + "-" +
              testing::UnitTest::GetInstance()->current_test_info()->name()) {}
  ~FakeRoot() override { std::filesystem::remove_all(root_); }

  void write(const std::string& path, const std::string& text) {
    std::filesystem::create_directories(std::filesystem::path(root_ + path).parent_path());
    std::ofstream(root_ + path) << text;
  }

  std::string root_;
};

TEST_F(FakeRoot, ReadsHugepagesPerNode) {
  const std::string node = "/sys/devices/system/node/node1/hugepages/";
  write(node + "hugepages-2048kB/nr_hugepages", "512\n");
  write(node + "hugepages-2048kB/free_hugepages", "500\n");
  write(node + "hugepages-1048576kB/nr_hugepages", "2\n");
  write(node + "hugepages-1048576kB/free_hugepages", "1\n");
  write("/proc/meminfo", "MemTotal: 100 kB\nMemAvailable:    2048 kB\n");
  const MachineMemory machine = ReadMachineMemory(root_);
  EXPECT_EQ(machine.hugepage_bytes(1), 1000 * kMiB + kGiB);
  EXPECT_EQ(machine.hugepage_bytes(0), 0u);
  EXPECT_EQ(machine.hugepage_bytes(-1), machine.hugepage_bytes(1));
  EXPECT_EQ(machine.available_bytes, 2 * kMiB);
  EXPECT_EQ(machine.cgroup_bytes, kNoLimit);
}

TEST_F(FakeRoot, TakesTheTightestCgroupLimit) {
  write("/proc/self/cgroup", "0::/user/job\n");
  write("/sys/fs/cgroup/user/memory.max", "1000\n");
  write("/sys/fs/cgroup/user/memory.current", "400\n");
  write("/sys/fs/cgroup/user/job/memory.max", "max\n");
  EXPECT_EQ(ReadMachineMemory(root_).cgroup_bytes, 600u);
  write("/proc/self/cgroup", "4:memory:/box\n0::/\n");
  write("/sys/fs/cgroup/memory/box/memory.limit_in_bytes", "900\n");
  write("/sys/fs/cgroup/memory/box/memory.usage_in_bytes", "950\n");
  EXPECT_EQ(ReadMachineMemory(root_).cgroup_bytes, 0u);
}

EalOptions Options() {
  EalOptions options;
  options.cpus = {0, 1, 5};
  options.polling_cpus = {1, 5};
  options.memory.plan.eal_bytes = 100 * kMiB + 1;
  return options;
}

bool Has(const std::vector<std::string>& arguments, const std::string& argument) {
  return std::find(arguments.begin(), arguments.end(), argument) != arguments.end();
}

TEST(EalArguments, HugepagesAndNoHugeExcludeEachOther) {
  EalOptions options = Options();
  const auto ordinary = EalArguments(options);
  EXPECT_TRUE(Has(ordinary, "--no-huge") && Has(ordinary, "--no-shconf") && Has(ordinary, "101"));
  EXPECT_FALSE(Has(ordinary, "--in-memory"));
  options.memory.hugepages = true;
  const auto huge = EalArguments(options);
  EXPECT_TRUE(Has(huge, "--in-memory"));
  EXPECT_FALSE(Has(huge, "--no-huge") || Has(huge, "-m"));
  EXPECT_TRUE(Has(huge, "--no-telemetry") && Has(ordinary, "--no-telemetry"));
}

TEST(EalArguments, MainLcoreFloatsAndPollersArePinned) {
  EXPECT_TRUE(Has(EalArguments(Options()), "--lcores=0@(0,1,5),1@1,2@5"));
}

TEST(EalArguments, PciDevicesOnlyByName) {
  EalOptions options = Options();
  EXPECT_TRUE(Has(EalArguments(options), "--no-pci"));
  options.pci_devices = {"0000:3b:00.0"};
  const auto arguments = EalArguments(options);
  EXPECT_TRUE(Has(arguments, "-a") && Has(arguments, "0000:3b:00.0"));
  EXPECT_FALSE(Has(arguments, "--no-pci"));
}

TEST(EalArguments, ThePersonsArgumentsDisplaceOurs) {
  EalOptions options = Options();
  options.user_arguments = {"-l", "0-1", "--socket-mem=64", "--log-level=8"};
  const auto arguments = EalArguments(options);
  EXPECT_EQ(std::count_if(arguments.begin(), arguments.end(),
                          [](const std::string& a) { return a.starts_with("--lcores"); }),
            0);
  EXPECT_FALSE(Has(arguments, "--no-huge") || Has(arguments, "--in-memory"));
  EXPECT_EQ(arguments.back(), "--log-level=8");
  options.user_arguments = {"--log-level=8"};
  EXPECT_TRUE(Has(EalArguments(options), "--no-huge"));  // "-l" is not "--log-level"
}

TEST(PollingCpus, LeaveTheFirstCpuWhereTheyCan) {
  EXPECT_EQ(ChoosePollingCpus({0, 1, 2}, 2).cpus, (std::vector{1, 2}));
  EXPECT_FALSE(ChoosePollingCpus({0, 1, 2}, 2).shared);
  EXPECT_EQ(ChoosePollingCpus({3}, 1).cpus, std::vector{3});
  EXPECT_TRUE(ChoosePollingCpus({3}, 1).shared);
  EXPECT_EQ(ChoosePollingCpus({0, 1}, 3).cpus, (std::vector{0, 1, 0}));
  EXPECT_TRUE(ChoosePollingCpus({0, 1}, 3).shared);
}

TEST(MemoryLock, OneAtATime) {
  auto first = MemoryLock::Take();
  ASSERT_TRUE(first.has_value()) << first.error().text();
  const auto second = MemoryLock::Take(TimeNs{30'000'000});
  ASSERT_FALSE(second.has_value());
  EXPECT_EQ(second.error().code, ErrorCode::kMachine);
  std::optional<MemoryLock> held(std::move(*first));
  EXPECT_FALSE(MemoryLock::Take(TimeNs{}).has_value()) << "moving it does not let go";
  held.reset();
  EXPECT_TRUE(MemoryLock::Take().has_value());
}

}  // namespace
}  // namespace farspan::dpdk
