#include "emulator/dpdk/hugepages.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/close_range.h>
#include <spdlog/spdlog.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstring>
#include <thread>

#include "emulator/base/units.h"
#include "emulator/dpdk/memory_plan.h"

namespace farspan::dpdk {
namespace {

constexpr const char* kPageCount = "/proc/sys/vm/nr_hugepages";

std::string CountPath(int node) {
  return node < 0
             ? kPageCount
             : fmt::format(
                   "/sys/devices/system/node/node{}/hugepages/hugepages-2048kB/nr_hugepages", node);
}

// Plain system calls, because the guardian uses them after fork().
bool ReadCount(const char* path, uint64_t& count) {
  const int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return false;
  std::array<char, 32> text{};
  const ssize_t size = read(file, text.data(), text.size());
  close(file);
  return size > 0 && std::from_chars(text.data(), text.data() + size, count).ec == std::errc{};
}

bool WriteCount(const char* path, uint64_t count) {
  std::array<char, 32> text{};
  const char* end = std::to_chars(text.data(), text.data() + text.size(), count).ptr;
  const int file = open(path, O_WRONLY | O_CLOEXEC);
  if (file < 0) return false;
  const ssize_t size = end - text.data();
  const bool written = write(file, text.data(), static_cast<size_t>(size)) == size;
  close(file);
  return written;
}

void GiveBack(const char* path, uint64_t pages) {
  uint64_t count = 0;
  if (ReadCount(path, count)) WriteCount(path, count > pages ? count - pages : 0);
}

[[noreturn]] void Guard(int pipe, const char* path, uint64_t pages) {
  setsid();
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT}) std::signal(signal, SIG_IGN);
  // Nothing of the engine's may stay open here: a reader of its output would wait for us.
  dup2(pipe, 0);
  close_range(1, ~0u, 0);
  char byte = 0;
  while (read(0, &byte, 1) < 0 && errno == EINTR) {
  }
  const int lock = open(kPageCount, O_RDONLY);
  while (flock(lock, LOCK_EX) < 0 && errno == EINTR) {
  }
  GiveBack(path, pages);
  _exit(0);
}

tl::unexpected<Error> CannotReserve(uint64_t pages, const std::string& why) {
  return Fail(ErrorCode::kMachine,
              fmt::format("cannot reserve {} hugepages of 2 MiB: {}", pages, why), "memory");
}

}  // namespace

Result<MemoryLock> MemoryLock::Take(TimeNs at_most) {
  const int file = open(kPageCount, O_RDONLY | O_CLOEXEC);
  if (file < 0) return MemoryLock(-1);
  MemoryLock lock(file);
  const auto end = std::chrono::steady_clock::now() + std::chrono::nanoseconds(at_most.ns);
  bool said = false;
  while (flock(file, LOCK_EX | LOCK_NB) < 0 && (errno == EWOULDBLOCK || errno == EINTR)) {
    if (!said) spdlog::info("another emulator is taking its memory: waiting until it has");
    said = true;
    if (std::chrono::steady_clock::now() >= end) {
      return Fail(ErrorCode::kMachine,
                  fmt::format("another process has held the lock on {} for {}: is an emulator "
                              "hanging at its start? (lslocks, or fuser {}, shows who)",
                              kPageCount, ToText(at_most), kPageCount),
                  "memory");
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  return lock;
}

MemoryLock::~MemoryLock() {
  if (file_ < 0) return;
  flock(file_, LOCK_UN);  // a child may have the descriptor too
  close(file_);
}

Result<std::unique_ptr<HugepageReservation>> HugepageReservation::Take(uint64_t pages, int node) {
  const std::string path = CountPath(node);
  uint64_t before = 0;
  if (!ReadCount(path.c_str(), before)) {
    return CannotReserve(pages, path + " cannot be read: has this kernel hugepages?");
  }
  // The kernel would try, and push everything else out of memory.
  if (const uint64_t mib = ReadMachineMemory().available_bytes >> 20; pages > mib / 2) {
    return CannotReserve(pages, fmt::format("only {} MiB of memory are available", mib));
  }
  std::array<int, 2> pipe_ends{};
  if (pipe2(pipe_ends.data(), O_CLOEXEC) != 0) return CannotReserve(pages, std::strerror(errno));
  if (!WriteCount(path.c_str(), before + pages)) {
    const int error = errno;
    close(pipe_ends[0]);
    close(pipe_ends[1]);
    return CannotReserve(pages,
                         fmt::format("writing {}: {}; run as root, or: echo {} | sudo tee {}", path,
                                     std::strerror(error), before + pages, path));
  }
  uint64_t after = 0;
  ReadCount(path.c_str(), after);
  const uint64_t gained = after > before ? after - before : 0;
  const pid_t guardian = gained == pages ? fork() : -1;
  if (guardian == 0) {
    close(pipe_ends[1]);
    Guard(pipe_ends[0], path.c_str(), pages);
  }
  close(pipe_ends[0]);
  if (guardian < 0) {
    close(pipe_ends[1]);
    GiveBack(path.c_str(), gained);
    return CannotReserve(
        pages,
        fmt::format("only {} could be had, memory is short or fragmented; try: echo 1 | sudo "
                    "tee /proc/sys/vm/compact_memory",
                    gained));
  }
  return std::unique_ptr<HugepageReservation>(
      new HugepageReservation(pages, pipe_ends[1], guardian));
}

HugepageReservation::~HugepageReservation() {
  close(pipe_);
  while (waitpid(guardian_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

}  // namespace farspan::dpdk
