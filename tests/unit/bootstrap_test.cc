// Ranks that find each other, and what each is told when they do not.
#include "transports/testbed/bootstrap.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <string>
#include <thread>
#include <vector>

namespace farspan::testbed {
namespace {

using namespace farspan::literals;

// An address that nobody uses now.
SocketAddress FreeAddress() {
  const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  const SocketAddress any = *ParseSocketAddress("127.0.0.1:0");
  EXPECT_EQ(bind(fd, any.get(), any.length), 0);
  const SocketAddress address = LocalAddress(fd);
  ::close(fd);
  return address;
}

// Runs `body(membership)` for each, in threads of their own; what each returned.
template <typename Body>
std::vector<std::string> InThreads(const std::vector<Membership>& members, Body body) {
  std::vector<std::string> results(members.size());
  std::vector<std::thread> threads;
  for (size_t i = 0; i < members.size(); ++i) {
    threads.emplace_back([&, i] { results[i] = body(members[i]); });
  }
  for (std::thread& thread : threads) thread.join();
  return results;
}

std::vector<Membership> Members(uint32_t world, TimeNs timeout = 5_s) {
  const SocketAddress root = FreeAddress();
  std::vector<Membership> members;
  for (uint32_t rank = 0; rank < world; ++rank) {
    members.push_back({rank, world, root, "all_reduce 1024", timeout});
  }
  return members;
}

std::string JoinOnly(const Membership& membership) {
  const auto joined = Bootstrap::Join(membership);
  return joined ? "joined" : joined.error().text();
}

bool Says(const std::string& text, const std::string& words) {
  return text.find(words) != std::string::npos;
}

TEST(Bootstrap, EveryRankGetsEveryRanksBytes) {
  for (const uint32_t world : {1u, 2u, 5u}) {
    const auto results = InThreads(Members(world), [](const Membership& m) {
      auto joined = Bootstrap::Join(m);
      if (!joined) return joined.error().text();
      std::string seen;
      for (int round = 0; round < 3; ++round) {
        const std::string mine = std::string(m.rank, '\0') + std::to_string(m.rank);
        const auto all = (*joined)->all_gather(mine);
        if (!all) return all.error().text();
        for (const std::string& one : *all) seen += one + ";";
      }
      const auto met = (*joined)->barrier();
      return met ? seen : met.error().text();
    });
    std::string expected;
    for (int round = 0; round < 3; ++round) {
      for (uint32_t rank = 0; rank < world; ++rank) {
        expected += std::string(rank, '\0') + std::to_string(rank) + ";";
      }
    }
    for (const std::string& result : results) EXPECT_EQ(result, expected);
  }
}

TEST(Bootstrap, AMissingRankIsNamedToAll) {
  auto members = Members(4, 1_s);
  members.erase(members.begin() + 2);
  for (const std::string& result : InThreads(members, JoinOnly)) {
    EXPECT_TRUE(Says(result, "rank 2 of 4 had not come")) << result;
  }
}

TEST(Bootstrap, AMissingRootIsAnError) {
  auto members = Members(2, 1_s);
  members.erase(members.begin());
  for (const std::string& result : InThreads(members, JoinOnly)) {
    EXPECT_TRUE(Says(result, "rank 0 could not be reached")) << result;
  }
}

TEST(Bootstrap, AWrongWorldSizeIsAnErrorForAll) {
  auto members = Members(3);
  members[2].world = 4;
  for (const std::string& result : InThreads(members, JoinOnly)) {
    EXPECT_TRUE(Says(result, "rank 2 says that there are 4 ranks")) << result;
  }
}

TEST(Bootstrap, AnotherRunIsAnErrorForAll) {
  auto members = Members(3);
  members[1].run = "all_reduce 2048";
  for (const std::string& result : InThreads(members, JoinOnly)) {
    EXPECT_TRUE(Says(result, "another run")) << result;
  }
}

TEST(Bootstrap, TwoOfOneRankAreAnErrorForAll) {
  auto members = Members(3);
  members[2].rank = 1;
  for (const std::string& result : InThreads(members, JoinOnly)) {
    EXPECT_TRUE(Says(result, "two processes are rank 1")) << result;
  }
}

TEST(Bootstrap, AnAddressInUseIsAnError) {
  const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  const SocketAddress any = *ParseSocketAddress("127.0.0.1:0");
  ASSERT_EQ(bind(fd, any.get(), any.length), 0);
  ASSERT_EQ(::listen(fd, 1), 0);
  const auto joined = Bootstrap::Join({0, 2, LocalAddress(fd), "", 1_s});
  ::close(fd);
  ASSERT_FALSE(joined);
  EXPECT_TRUE(Says(joined.error().text(), "cannot listen")) << joined.error().text();
}

// A rank by hand: it joins, sends its bytes, none, and reads no more. The answer is more than
// sockets hold.
TEST(Bootstrap, ARankThatDoesNotReadIsAnErrorInTime) {
  const auto members = Members(2, 1_s);
  const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  const SocketAddress root = members[0].root;
  const auto results = InThreads(members, [&](const Membership& m) {
    if (m.rank == 0) {
      auto joined = Bootstrap::Join(m);
      if (!joined) return joined.error().text();
      const auto all = (*joined)->all_gather(std::string(50 << 20, 'x'));
      return all ? std::string("gathered") : all.error().text();
    }
    const std::string hello = "farspan 1 2 " + m.run;
    const uint64_t size = hello.size(), none = 0;
    while (::connect(fd, root.get(), root.length) != 0) usleep(1'000);
    (void)!write(fd, &size, sizeof size);
    (void)!write(fd, hello.data(), hello.size());
    (void)!write(fd, &none, sizeof none);
    return std::string();
  });
  ::close(fd);
  EXPECT_TRUE(Says(results[0], "rank 1: no answer in time")) << results[0];
}

// As behind a firewall: nothing answers, not even that nobody is there.
TEST(Bootstrap, ARootThatDoesNotAnswerIsAnErrorInTime) {
  const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  const SocketAddress any = *ParseSocketAddress("127.0.0.1:0");
  ASSERT_EQ(bind(fd, any.get(), any.length), 0);
  ASSERT_EQ(::listen(fd, 0), 0);
  const SocketAddress root = LocalAddress(fd);
  const int waiting = ::socket(AF_INET, SOCK_STREAM, 0);
  ASSERT_EQ(::connect(waiting, root.get(), root.length), 0);  // the queue is full
  EXPECT_TRUE(Says(JoinOnly({1, 2, root, "", 1_s}), "rank 0 could not be reached"));
  ::close(waiting);
  ::close(fd);
}

TEST(Bootstrap, ARankThatDiesLaterIsAnError) {
  const auto results = InThreads(Members(3, 2_s), [](const Membership& m) {
    auto joined = Bootstrap::Join(m);
    if (!joined) return joined.error().text();
    if (m.rank == 2) return std::string("died");
    const auto met = (*joined)->barrier();
    return met ? std::string("met") : met.error().text();
  });
  EXPECT_TRUE(Says(results[0], "rank 2")) << results[0];
  EXPECT_TRUE(Says(results[1], "rank 0")) << results[1];
}

}  // namespace
}  // namespace farspan::testbed
