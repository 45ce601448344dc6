// Farspan's plugin for NCCL, as processes use it.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

#include "transports/doors/nccl_net.h"
#include "transports/doors/nccl_transport.h"

namespace farspan::doors {
namespace {

using Handle = std::array<uint8_t, nccl::kHandleBytes>;
using Clock = std::chrono::steady_clock;

constexpr int kBytes = 5'000;  // no more than may leave before the first ACK

// Calls until `done` or 20 s: whether it came to be done.
template <typename Step>
bool Until(Step done) {
  const auto end = Clock::now() + std::chrono::seconds(20);
  while (!done()) {
    if (Clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::microseconds(50));
  }
  return true;
}

// One end's comm and its one message; false where a call fails, or nothing comes of it for long.
struct End {
  explicit End(NcclNet& net, bool sends) : net(net), sends(sends) {}
  bool move(void* listener, Handle handle) {
    bool good = true, done = false;
    int bytes = 0;
    void* request = nullptr;
    std::vector<uint8_t> data(kBytes, sends ? 7 : 0);
    good = Until([&] {
      good = (sends ? net.connect(0, handle.data(), &comm) : net.accept(listener, &comm)) ==
             nccl::kSuccess;
      return !good || comm != nullptr;
    });
    void* memory = nullptr;
    good = good && comm != nullptr &&
           net.register_memory(comm, data.data(), kBytes, &memory) == nccl::kSuccess;
    good = good && Until([&] {
             const auto answer = sends
                                     ? net.send(comm, data.data(), kBytes, 0, memory, &request)
                                     : net.receive(comm, data.data(), kBytes, 0, memory, &request);
             return answer != nccl::kSuccess || request != nullptr;
           });
    good = good && request != nullptr && Until([&] {
             good = net.test(request, done, bytes) == nccl::kSuccess;
             return !good || done;
           });
    return good && done && data == std::vector<uint8_t>(kBytes, 7);
  }
  NcclNet& net;
  bool sends;
  void* comm = nullptr;
};

// Between the two: it loses all ACKs of the receiver from the first data on, for 300 ms.
class Relay {
 public:
  explicit Relay(Handle& handle) {
    for (int& fd : fds_) {
      fd = socket(AF_INET, SOCK_DGRAM, 0);
      sockaddr_in any{};
      any.sin_family = AF_INET;
      any.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
      bind(fd, reinterpret_cast<sockaddr*>(&any), sizeof any);
    }
    std::memcpy(&peers_[1], &handle[kAddressAt], sizeof peers_[1]);
    socklen_t length = sizeof(sockaddr_in);
    sockaddr_in mine{};
    getsockname(fds_[0], reinterpret_cast<sockaddr*>(&mine), &length);
    std::memcpy(&handle[kAddressAt], &mine, sizeof mine);
    thread_ = std::thread([this] { run(); });
  }
  ~Relay() {
    stop_ = true;
    thread_.join();
    for (const int fd : fds_) close(fd);
  }
  int lost() const { return lost_; }

 private:
  static constexpr size_t kAddressAt = 13;  // of the first path, in a handle

  void run() {
    while (!stop_) {
      pollfd watched[2] = {{fds_[0], POLLIN, 0}, {fds_[1], POLLIN, 0}};
      poll(watched, 2, 10);
      for (size_t side = 0; side < 2; ++side) {
        if (watched[side].revents != 0) carry(side);
      }
    }
  }
  // Side 0 is the sender's.
  void carry(size_t side) {
    uint8_t bytes[4096];
    sockaddr_in from{};
    socklen_t length = sizeof from;
    const ssize_t n = recvfrom(fds_[side], bytes, sizeof bytes, MSG_DONTWAIT,
                               reinterpret_cast<sockaddr*>(&from), &length);
    if (n <= 0) return;
    peers_[side] = from;
    const int type = bytes[0] & 15;
    if (side == 0 && type == 5 && !cut_) cut_ = Clock::now() + std::chrono::milliseconds(300);
    if (side == 1 && type == 7 && cut_ && Clock::now() < *cut_) {
      ++lost_;
      return;
    }
    sendto(fds_[1 - side], bytes, static_cast<size_t>(n), 0,
           reinterpret_cast<const sockaddr*>(&peers_[1 - side]), sizeof(sockaddr_in));
  }

  int fds_[2];
  sockaddr_in peers_[2]{};
  std::optional<Clock::time_point> cut_;
  std::atomic<bool> stop_ = false;
  std::atomic<int> lost_ = 0;
  std::thread thread_;
};

// Receives one message and ends at once: in good order, or as NCCL up to v10 may, which has no
// finalize. An exit code.
int ReceiveAndEnd(int version, int to_parent) {
  const auto library = SharedLibrary::Open(NCCL_PLUGIN);
  const auto net = FindNcclNet(*library, version);
  Handle handle{};
  void* listener = nullptr;
  if ((*net)->init(nullptr) != nccl::kSuccess) return 2;
  if ((*net)->listen(0, handle.data(), &listener) != nccl::kSuccess) return 3;
  if (write(to_parent, handle.data(), handle.size()) != static_cast<ssize_t>(handle.size())) {
    return 4;
  }
  End end(**net, false);
  if (!end.move(listener, handle)) return 5;
  if (version < 11) return 0;
  (*net)->close(end.comm, false);
  (*net)->close_listener(listener);
  (*net)->finalize();
  return 0;
}

TEST(NcclPlugin, WhoEndsAfterItsLastReceiveTellsItsSenderAllTheSame) {
  setenv("FARSPAN_LOCAL", "127.0.0.1", 1);
  setenv("FARSPAN_NET", "udp", 1);
  for (const int version : {nccl::kNewest, nccl::kOldest}) {
    SCOPED_TRACE(version);
    int ends[2];
    ASSERT_EQ(pipe(ends), 0);
    const pid_t child = fork();
    if (child == 0) {
      alarm(30);
      std::exit(ReceiveAndEnd(version, ends[1]));
    }
    Handle handle{};
    ASSERT_EQ(read(ends[0], handle.data(), handle.size()), static_cast<ssize_t>(handle.size()));
    {
      Relay relay(handle);
      const auto library = SharedLibrary::Open(NCCL_PLUGIN);
      const auto net = FindNcclNet(*library, nccl::kNewest);
      ASSERT_EQ((*net)->init(nullptr), nccl::kSuccess);
      End end(**net, true);
      EXPECT_TRUE(end.move(nullptr, handle));
      EXPECT_GT(relay.lost(), 0);
      if (end.comm != nullptr) (*net)->close(end.comm, true);
      EXPECT_EQ((*net)->finalize(), nccl::kSuccess);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
    for (const int fd : ends) close(fd);
  }
}

// A plugin that is refused after its init, by what it answers; `finalized` counts.
class RefusedNet final : public NcclNet {
 public:
  RefusedNet(std::string_view why, int& finalized) : why_(why), finalized_(finalized) {}
  int version() const override { return nccl::kNewest; }
  std::string name() const override { return "refused"; }
  std::string missing() const override { return {}; }
  nccl::Status init(nccl::Log) override { return answer("init"); }
  nccl::Status devices(int& count) override {
    count = why_ == "none" ? 0 : 1;
    return answer("devices");
  }
  nccl::Status device(int, NcclDevice& device) override {
    device.pointer_support = why_ == "pointers" ? 2 : nccl::kPointerHost;
    return answer("device");
  }
  nccl::Status listen(int, void*, void**) override { return nccl::kSuccess; }
  nccl::Status connect(int, void*, void**) override { return nccl::kSuccess; }
  nccl::Status accept(void*, void**) override { return nccl::kSuccess; }
  nccl::Status register_memory(void*, void*, size_t, void**) override { return nccl::kSuccess; }
  nccl::Status deregister_memory(void*, void*) override { return nccl::kSuccess; }
  nccl::Status send(void*, void*, size_t, int, void*, void**) override { return nccl::kSuccess; }
  nccl::Status receive(void*, void*, size_t, int, void*, void**) override { return nccl::kSuccess; }
  nccl::Status test(void*, bool&, int&) override { return nccl::kSuccess; }
  nccl::Status close(void*, bool) override { return nccl::kSuccess; }
  nccl::Status close_listener(void*) override { return nccl::kSuccess; }
  nccl::Status finalize() override {
    ++finalized_;
    return nccl::kSuccess;
  }

 private:
  nccl::Status answer(std::string_view call) const {
    return why_ == call ? nccl::kSystemError : nccl::kSuccess;
  }
  std::string_view why_;
  int& finalized_;
};

TEST(NcclTransport, WhatIsRefusedAfterItsInitIsFinalized) {
  for (const char* why : {"init", "devices", "none", "device", "pointers", "nothing"}) {
    int finalized = 0;
    {
      const auto opened =
          NcclTransport::Open(std::make_unique<RefusedNet>(why, finalized), "a.so", 0);
      EXPECT_EQ(opened.has_value(), why == std::string_view("nothing")) << why;
    }
    EXPECT_EQ(finalized, why == std::string_view("init") ? 0 : 1) << why;
  }
}

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
