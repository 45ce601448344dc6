// The engine's clock judged by another process, and hugepages that come back whatever happens.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cmath>
#include <csignal>
#include <fstream>
#include <functional>
#include <limits>
#include <thread>

#include "emulator/dpdk/clock.h"
#include "emulator/dpdk/hugepages.h"
#include "emulator/dpdk/spin_gaps.h"
#include "tests/support/lab.h"

namespace farspan::dpdk {
namespace {

int64_t MonotonicRaw() {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC_RAW, &time);
  return time.tv_sec * int64_t{1'000'000'000} + time.tv_nsec;
}

// A process that owns a clock and tells the time to whoever asks.
class ClockProcess {
 public:
  explicit ClockProcess(double rate_factor) {
    std::array<int, 2> ends{};
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends.data()), 0);
    child_ = fork();
    if (child_ == 0) {
      close(ends[0]);
      Serve(ends[1], rate_factor);
    }
    close(ends[1]);
    socket_ = ends[0];
    ask();  // returns when it has been calibrated
  }
  ~ClockProcess() {
    close(socket_);
    waitpid(child_, nullptr, 0);
  }

  // The tightest of many questions: its time less ours, give or take half the question.
  struct Offset {
    int64_t ns = 0;
    int64_t at = 0;
    int64_t uncertainty_ns = std::numeric_limits<int64_t>::max();
  };
  Offset offset() {
    Offset best;
    for (int i = 0; i < 3'000; ++i) {
      const int64_t before = MonotonicRaw();
      const int64_t theirs = ask();
      const int64_t half = (MonotonicRaw() - before) / 2;
      if (half < best.uncertainty_ns) best = {theirs - before - half, before + half, half};
    }
    return best;
  }

 private:
  int64_t ask() {
    char question = 0;
    int64_t answer = -1;
    EXPECT_EQ(write(socket_, &question, 1), 1);
    EXPECT_EQ(read(socket_, &answer, sizeof(answer)), static_cast<ssize_t>(sizeof(answer)));
    return answer;
  }
  [[noreturn]] static void Serve(int socket, double rate_factor) {
    auto clock = EngineClock::Start();
    if (!clock) _exit(3);
    ClockReader reader = (*clock)->reader();
    for (char question = 0; read(socket, &question, 1) == 1;) {
      const auto now = std::llround(static_cast<double>(reader.now().ns) * rate_factor);
      if (write(socket, &now, sizeof(now)) != sizeof(now)) break;
    }
    _exit(0);
  }

  pid_t child_ = -1;
  int socket_ = -1;
};

TEST(EngineClock, AnotherProcessSeesItWithinFivePpm) {
  ClockProcess clock(1);
  ClockProcess wrong(1 + 30e-6);  // the twin
  const auto start = clock.offset();
  const auto wrong_start = wrong.offset();
  std::this_thread::sleep_for(std::chrono::seconds(8));
  const auto end = clock.offset();
  const auto wrong_end = wrong.offset();
  const auto ppm = [](const auto& a, const auto& b) {
    return 1e6 * static_cast<double>(b.ns - a.ns) / static_cast<double>(b.at - a.at);
  };
  const double bound = 1e6 * static_cast<double>(start.uncertainty_ns + end.uncertainty_ns) / 8e9;
  std::printf("clock: %+.3f ppm against CLOCK_MONOTONIC_RAW, bound of the method %.3f ppm\n",
              ppm(start, end), bound);
  FARSPAN_NEED_LAB(bound < 10, "this machine is too busy to ask another process the time");
  EXPECT_LE(std::abs(ppm(start, end)), 5 + bound);
  EXPECT_GT(ppm(wrong_start, wrong_end), 30 - 5 - bound);
}

TEST(SpinGaps, APinnedThreadMeasuresItsCpu) {
  const auto gaps = MeasureSpinGapsOn(0, {20'000'000}, 2.5e9);
  ASSERT_TRUE(gaps.has_value()) << gaps.error().text();
  EXPECT_GT(gaps->count(), 10'000u);
  EXPECT_GE(gaps->max(), gaps->quantile(0.999));
  EXPECT_LE(gaps->expected_lateness(0.5), gaps->expected_lateness(0.999));
  EXPECT_FALSE(MeasureSpinGapsOn(1'000, {1'000'000}, 2.5e9).has_value());
}

uint64_t Hugepages() {
  std::ifstream file("/proc/sys/vm/nr_hugepages");
  uint64_t count = 0;
  file >> count;
  return count;
}

void WaitForHugepages(uint64_t count) {
  for (int i = 0; i < 200 && Hugepages() != count; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
}

class HugepagesTest : public testing::Test {
 protected:
  void SetUp() override {
    FARSPAN_NEED_LAB(geteuid() == 0 && access("/proc/sys/vm/nr_hugepages", W_OK) == 0,
                     "needs root to reserve hugepages");
  }
};

TEST_F(HugepagesTest, AreGivenBackAtTheEnd) {
  const uint64_t before = Hugepages();
  {
    auto reserved = HugepageReservation::Take(4);
    ASSERT_TRUE(reserved.has_value()) << reserved.error().text();
    EXPECT_EQ(Hugepages(), before + 4);
  }
  EXPECT_EQ(Hugepages(), before);
}

TEST_F(HugepagesTest, AreGivenBackAfterSigkill) {
  const uint64_t before = Hugepages();
  std::array<int, 2> ready{};
  ASSERT_EQ(pipe2(ready.data(), O_CLOEXEC), 0);
  const pid_t child = fork();
  if (child == 0) {
    auto reserved = HugepageReservation::Take(4);
    const char taken = reserved.has_value() ? 1 : 0;
    if (write(ready[1], &taken, 1) != 1) _exit(1);
    pause();
    _exit(0);
  }
  close(ready[1]);
  char taken = 0;
  ASSERT_EQ(read(ready[0], &taken, 1), 1);
  EXPECT_EQ(taken, 1);
  EXPECT_EQ(Hugepages(), before + 4);
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  WaitForHugepages(before);
  EXPECT_EQ(Hugepages(), before);
  // The guardian held no end of our pipe: a reader sees the end of the killed process's output.
  pollfd end{.fd = ready[0], .events = POLLIN, .revents = 0};
  EXPECT_EQ(poll(&end, 1, 1'000), 1);
  close(ready[0]);
}

TEST_F(HugepagesTest, MoreThanThereIsAreRefusedAndNoneKept) {
  const uint64_t before = Hugepages();
  auto reserved = HugepageReservation::Take(uint64_t{1} << 32);
  ASSERT_FALSE(reserved.has_value());
  EXPECT_EQ(reserved.error().code, ErrorCode::kMachine);
  EXPECT_EQ(Hugepages(), before);
}

}  // namespace
}  // namespace farspan::dpdk
