#include "transports/testbed/bootstrap.h"

#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "transports/drivers/monotonic.h"

namespace farspan::testbed {
namespace {

constexpr uint64_t kMessageMax = 64 << 20;
constexpr std::string_view kAccepted = "ok";

// How long to wait, and what to do meanwhile.
class Patience {
 public:
  explicit Patience(TimeNs timeout, const std::function<void()>* meanwhile = nullptr)
      : end_(MonotonicNow() + timeout), meanwhile_(meanwhile) {}

  bool over() const { return left().ns <= 0; }
  TimeNs left() const { return end_ - MonotonicNow(); }
  // False: not ready in time.
  bool wait_for(int fd, short events) const {
    const bool busy = meanwhile_ != nullptr && *meanwhile_;
    while (true) {
      pollfd watched{fd, events, 0};
      const int64_t left_ms = std::max<int64_t>(left().ns / 1'000'000, 0);
      if (poll(&watched, 1, busy ? 0 : static_cast<int>(left_ms)) > 0) return true;
      if (over()) return false;
      if (busy) (*meanwhile_)();
    }
  }

 private:
  TimeNs end_;
  const std::function<void()>* meanwhile_;
};

tl::unexpected<Error> Broken(const std::string& what) { return Fail(ErrorCode::kIo, what); }

Result<void> Move(int fd, char* data, size_t bytes, bool out, const Patience& patience) {
  while (bytes > 0) {
    if (!patience.wait_for(fd, out ? POLLOUT : POLLIN)) return Broken("no answer in time");
    const ssize_t n = out ? ::send(fd, data, bytes, MSG_NOSIGNAL | MSG_DONTWAIT)
                          : ::recv(fd, data, bytes, MSG_DONTWAIT);
    if (n == 0 && !out) return Broken("it has gone");
    if (n < 0 && errno != EAGAIN && errno != EINTR) return Broken(std::strerror(errno));
    if (n < 0) continue;
    data += n;
    bytes -= static_cast<size_t>(n);
  }
  return {};
}

Result<void> SendText(int fd, std::string_view text, const Patience& patience) {
  uint64_t size = text.size();
  if (auto sent = Move(fd, reinterpret_cast<char*>(&size), sizeof size, true, patience); !sent) {
    return sent;
  }
  return Move(fd, const_cast<char*>(text.data()), text.size(), true, patience);
}

Result<std::string> ReceiveText(int fd, const Patience& patience) {
  uint64_t size = 0;
  if (auto got = Move(fd, reinterpret_cast<char*>(&size), sizeof size, false, patience); !got) {
    return tl::unexpected(got.error());
  }
  if (size > kMessageMax) return Broken("it speaks another language");
  std::string text(size, '\0');
  if (auto got = Move(fd, text.data(), size, false, patience); !got) {
    return tl::unexpected(got.error());
  }
  return text;
}

// Linux bounds connect() by it: where nothing answers, it would take minutes.
void BoundConnect(int fd, TimeNs left) {
  const int64_t us = std::max<int64_t>(left.ns / 1'000, 1);  // 0 is no bound
  const timeval most{us / 1'000'000, us % 1'000'000};
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &most, sizeof most);
}

// Or TCP holds a small text back until the one before it is acknowledged, 40 ms later.
void SendAtOnce(int fd) {
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

tl::unexpected<Error> FromRank(size_t rank, const Error& error) {
  return Broken(fmt::format("rank {}: {}", rank, error.message));
}

}  // namespace

Result<std::unique_ptr<Bootstrap>> Bootstrap::Join(const Membership& membership) {
  if (membership.world < 1 || membership.rank >= membership.world) {
    return Fail(ErrorCode::kInvalid,
                fmt::format("rank {} of {}: ranks count from 0 to {}", membership.rank,
                            membership.world, membership.world - 1));
  }
  std::unique_ptr<Bootstrap> made(new Bootstrap(membership));
  if (membership.world == 1) return made;
  auto done = membership.rank == 0 ? made->gather_members() : made->join_root();
  if (!done) return tl::unexpected(done.error());
  return made;
}

Bootstrap::~Bootstrap() {
  for (const int fd : peers_) {
    if (fd >= 0) ::close(fd);
  }
}

Result<void> Bootstrap::gather_members() {
  peers_.assign(membership_.world, -1);
  const int fd =
      ::socket(membership_.root.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  const int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(fd, membership_.root.get(), membership_.root.length) != 0 || ::listen(fd, 512) != 0) {
    const std::string why = std::strerror(errno);
    ::close(fd);
    return Fail(ErrorCode::kMachine,
                fmt::format("rank 0 cannot listen at {}: {}", ToText(membership_.root), why));
  }
  // After a problem the rest may still come for a moment, to be told.
  Result<void> result;
  Patience patience(membership_.timeout);
  for (uint32_t seen = 1; seen < membership_.world;) {
    if (!patience.wait_for(fd, POLLIN)) {
      if (result) result = Broken(missing_members());
      break;
    }
    const auto taken = take_member(fd);
    if (taken && !*taken) continue;
    ++seen;
    if (taken || !result) continue;
    result = tl::unexpected(taken.error());
    patience = Patience(TimeNs{1'000'000'000});
  }
  ::close(fd);
  const Patience answer(TimeNs{2'000'000'000});
  for (const int peer : peers_) {
    if (peer >= 0) SendText(peer, result ? kAccepted : result.error().message, answer);
  }
  return result;
}

std::string Bootstrap::missing_members() const {
  std::string missing;
  for (uint32_t i = 1; i < membership_.world; ++i) {
    if (peers_[i] < 0) missing += fmt::format("{}{}", missing.empty() ? "" : ", ", i);
  }
  return fmt::format("after {:.0f} s rank {} of {} had not come", ToSeconds(membership_.timeout),
                     missing, membership_.world);
}

// Reads the hello of one that has connected. False: it was no rank of ours at all. What makes the
// run impossible is an error, which it is told too.
Result<bool> Bootstrap::take_member(int listener) {
  const int fd = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
  if (fd < 0) return false;
  const Patience patience(TimeNs{2'000'000'000});
  const auto hello = ReceiveText(fd, patience);
  unsigned rank = 0, world = 0;
  int used = 0;
  std::string wrong;
  if (!hello || std::sscanf(hello->c_str(), "farspan %u %u %n", &rank, &world, &used) < 2) {
    ::close(fd);
    return false;
  }
  if (world != membership_.world) {
    wrong = fmt::format("rank {} says that there are {} ranks, rank 0 that there are {}", rank,
                        world, membership_.world);
  } else if (rank == 0 || rank >= membership_.world || peers_[rank] >= 0) {
    wrong = fmt::format("two processes are rank {}", rank);
  } else if (hello->substr(static_cast<size_t>(used)) != membership_.run) {
    wrong = fmt::format("rank {} was started for another run: '{}', not '{}'", rank,
                        hello->substr(static_cast<size_t>(used)), membership_.run);
  }
  if (wrong.empty()) {
    SendAtOnce(fd);
    peers_[rank] = fd;
    return true;
  }
  SendText(fd, wrong, patience);
  ::close(fd);
  return Broken(wrong);
}

Result<void> Bootstrap::join_root() {
  const Patience patience(membership_.timeout);
  while (true) {
    const int fd = ::socket(membership_.root.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    BoundConnect(fd, patience.left());
    if (::connect(fd, membership_.root.get(), membership_.root.length) == 0) {
      SendAtOnce(fd);
      peers_ = {fd};
      return introduce(fd);
    }
    const std::string why = std::strerror(errno);
    ::close(fd);
    if (patience.over()) {
      return Broken(fmt::format("rank 0 could not be reached at {} for {:.0f} s: {}",
                                ToText(membership_.root), ToSeconds(membership_.timeout), why));
    }
    usleep(20'000);
  }
}

Result<void> Bootstrap::introduce(int fd) {
  const Patience patience(membership_.timeout + TimeNs{2'000'000'000});
  const std::string hello =
      fmt::format("farspan {} {} {}", membership_.rank, membership_.world, membership_.run);
  if (auto sent = SendText(fd, hello, patience); !sent) return FromRank(0, sent.error());
  const auto answer = ReceiveText(fd, patience);
  if (!answer) return FromRank(0, answer.error());
  if (*answer != kAccepted) return Broken(*answer);
  return {};
}

Result<std::vector<std::string>> Bootstrap::all_gather(std::string_view mine,
                                                       const std::function<void()>& meanwhile) {
  std::vector<std::string> all(membership_.world);
  all[membership_.rank] = mine;
  if (membership_.world == 1) return all;
  const Patience patience(membership_.timeout, &meanwhile);
  if (membership_.rank != 0) {
    if (auto sent = SendText(peers_[0], mine, patience); !sent) return FromRank(0, sent.error());
    for (std::string& one : all) {
      auto text = ReceiveText(peers_[0], patience);
      if (!text) return FromRank(0, text.error());
      one = std::move(*text);
    }
    return all;
  }
  for (uint32_t rank = 1; rank < membership_.world; ++rank) {
    auto text = ReceiveText(peers_[rank], patience);
    if (!text) return FromRank(rank, text.error());
    all[rank] = std::move(*text);
  }
  for (uint32_t rank = 1; rank < membership_.world; ++rank) {
    for (const std::string& one : all) {
      if (auto sent = SendText(peers_[rank], one, patience); !sent) {
        return FromRank(rank, sent.error());
      }
    }
  }
  return all;
}

Result<void> Bootstrap::barrier(const std::function<void()>& meanwhile) {
  auto all = all_gather("", meanwhile);
  if (!all) return tl::unexpected(all.error());
  return {};
}

}  // namespace farspan::testbed
