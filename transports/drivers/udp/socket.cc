#include "transports/drivers/udp/socket.h"

#include <fmt/format.h>
#include <linux/errqueue.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "emulator/base/check.h"

namespace farspan::udp {
namespace {

constexpr size_t kReceiveBatch = 32;
constexpr size_t kControlBytes = 128;

tl::unexpected<Error> SystemError(std::string what) {
  return Fail(ErrorCode::kMachine, fmt::format("{}: {}", what, std::strerror(errno)));
}

template <typename T>
bool SetOption(int fd, int level, int name, const T& value) {
  return setsockopt(fd, level, name, &value, sizeof value) == 0;
}

// Appends one control message; `header.msg_control` must have room.
template <typename T>
void AddControl(msghdr& header, int level, int type, const T& value) {
  auto* at =
      reinterpret_cast<cmsghdr*>(static_cast<char*>(header.msg_control) + header.msg_controllen);
  at->cmsg_level = level;
  at->cmsg_type = type;
  at->cmsg_len = CMSG_LEN(sizeof value);
  std::memcpy(CMSG_DATA(at), &value, sizeof value);
  header.msg_controllen += CMSG_SPACE(sizeof value);
}

template <typename T>
T ControlValue(const cmsghdr* message) {
  T value;
  std::memcpy(&value, CMSG_DATA(message), sizeof value);
  return value;
}

size_t BytesOf(std::span<const iovec> parts) {
  size_t sum = 0;
  for (const iovec& part : parts) sum += part.iov_len;
  return sum;
}

}  // namespace

struct Socket::Buffers {
  using Control = std::array<char, kControlBytes>;
  std::array<mmsghdr, kBatchMax> send{};
  std::array<Control, kBatchMax> send_control{};
  std::array<mmsghdr, kReceiveBatch> receive{};
  std::array<Control, kReceiveBatch> receive_control{};
  std::array<iovec, kReceiveBatch> receive_parts{};
  std::array<Address, kReceiveBatch> from{};
  std::array<std::array<std::byte, 65'536>, kReceiveBatch> bytes;
};

Result<Socket> Socket::Open(const Address& local, const SocketOptions& options) {
  Socket socket;
  if (auto done = socket.set_up(local, options); !done) return tl::unexpected(done.error());
  return socket;
}

Result<void> Socket::set_up(const Address& local, const SocketOptions& options) {
  fd_ = ::socket(local.storage.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd_ < 0) return SystemError("a UDP socket cannot be made");
  if (bind(fd_, local.get(), local.length) != 0) {
    return SystemError(fmt::format("UDP address {} cannot be used", ToText(local)));
  }
  local_ = LocalAddress(fd_);

  // The privileged forms pass the sysctl limits; without privilege the limits apply.
  const int send = static_cast<int>(options.send_buffer_bytes);
  const int receive = static_cast<int>(options.receive_buffer_bytes);
  if (!SetOption(fd_, SOL_SOCKET, SO_SNDBUFFORCE, send))
    SetOption(fd_, SOL_SOCKET, SO_SNDBUF, send);
  if (!SetOption(fd_, SOL_SOCKET, SO_RCVBUFFORCE, receive)) {
    SetOption(fd_, SOL_SOCKET, SO_RCVBUF, receive);
  }
  SetOption(fd_, SOL_SOCKET, SO_RXQ_OVFL, 1);
  if (local.storage.ss_family == AF_INET6) {
    SetOption(fd_, IPPROTO_IPV6, IPV6_RECVTCLASS, 1);
    SetOption(fd_, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_DO);
    SetOption(fd_, IPPROTO_IPV6, IPV6_RECVERR, 1);
  } else {
    SetOption(fd_, IPPROTO_IP, IP_RECVTOS, 1);
    SetOption(fd_, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO);
    SetOption(fd_, IPPROTO_IP, IP_RECVERR, 1);
  }
  segmentation_ = SetOption(fd_, SOL_UDP, UDP_SEGMENT, 0);
  SetOption(fd_, SOL_UDP, UDP_GRO, 1);
  buffers_ = std::make_unique<Buffers>();
  return {};
}

Socket::Socket(Socket&& other) noexcept { *this = std::move(other); }

Socket& Socket::operator=(Socket&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(buffers_, other.buffers_);
  local_ = other.local_;
  segmentation_ = other.segmentation_;
  counters_ = other.counters_;
  refusal_ = other.refusal_;
  return *this;
}

Socket::~Socket() {
  if (fd_ >= 0) close(fd_);
}

size_t Socket::send(std::span<const Train> trains) {
  const size_t count = std::min(trains.size(), kBatchMax);
  for (size_t i = 0; i < count; ++i) {
    const Train& train = trains[i];
    msghdr& header = buffers_->send[i].msg_hdr;
    header = {};
    header.msg_name = const_cast<sockaddr_storage*>(&train.to->storage);
    header.msg_namelen = train.to->length;
    header.msg_iov = const_cast<iovec*>(train.parts.data());
    header.msg_iovlen = train.parts.size();
    header.msg_control = buffers_->send_control[i].data();
    if (train.ecn != Ecn::kNotEct) {
      const bool v6 = train.to->storage.ss_family == AF_INET6;
      AddControl(header, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_TCLASS : IP_TOS,
                 static_cast<int>(train.ecn));
    }
    if (BytesOf(train.parts) > train.segment_bytes) {
      FARSPAN_CHECK(segmentation_);
      AddControl(header, SOL_UDP, UDP_SEGMENT, train.segment_bytes);
    }
  }
  if (count == 0) return 0;
  const int sent = sendmmsg(fd_, buffers_->send.data(), static_cast<unsigned>(count), 0);
  return sent >= 0 ? static_cast<size_t>(sent) : after_error(trains[0], errno);
}

// How many trains are done with: the first is, or is not.
size_t Socket::after_error(const Train& train, int error) {
  if (error == EAGAIN || error == EWOULDBLOCK || error == EINTR) return 0;
  if (error == ENOBUFS) {
    ++counters_.queue_full;
    return 1;
  }
  const bool is_train = train.segment_bytes < BytesOf(train.parts);
  // Linux cuts trains only for interfaces that compute checksums, and says so no earlier than this.
  if (error == EIO && is_train) {
    segmentation_ = false;
    return 0;
  }
  if (read_errors()) return 0;  // it may have been told of another
  ++counters_.send_errors;
  // Before 6.13 Linux said EINVAL of a train whose datagrams are too long.
  if (error == EINVAL && is_train) {
    const auto path = FindMtu(local_, *train.to);
    if (path && IsTooLong(train.segment_bytes, *train.to, *path)) error = EMSGSIZE;
  }
  refusal_ =
      Refusal{error, *train.to, std::min<size_t>(train.segment_bytes, BytesOf(train.parts)), {}};
  return 1;
}

bool Socket::read_errors() {
  bool told = false;
  while (true) {
    Address to;
    Buffers::Control control;
    msghdr header{};
    header.msg_name = &to.storage;
    header.msg_namelen = sizeof to.storage;
    header.msg_control = control.data();
    header.msg_controllen = control.size();
    if (recvmsg(fd_, &header, MSG_ERRQUEUE | MSG_DONTWAIT) < 0) return told;
    to.length = header.msg_namelen;
    for (cmsghdr* c = CMSG_FIRSTHDR(&header); c != nullptr; c = CMSG_NXTHDR(&header, c)) {
      const bool v6 = c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_RECVERR;
      if (!v6 && (c->cmsg_level != IPPROTO_IP || c->cmsg_type != IP_RECVERR)) continue;
      const auto error = ControlValue<sock_extended_err>(c);
      if (error.ee_origin != SO_EE_ORIGIN_ICMP && error.ee_origin != SO_EE_ORIGIN_ICMP6) continue;
      told = true;
      Refusal refusal{static_cast<int>(error.ee_errno), to, 0, {}};
      refusal.teller.length = v6 ? sizeof(sockaddr_in6) : sizeof(sockaddr_in);
      std::memcpy(&refusal.teller.storage, CMSG_DATA(c) + sizeof error, refusal.teller.length);
      refusal_ = refusal;
    }
  }
}

size_t Socket::receive(std::span<Arrival> out) {
  const size_t count = std::min(out.size(), kReceiveBatch);
  for (size_t i = 0; i < count; ++i) {
    buffers_->receive_parts[i] = {buffers_->bytes[i].data(), buffers_->bytes[i].size()};
    msghdr& header = buffers_->receive[i].msg_hdr;
    header = {};
    header.msg_name = &buffers_->from[i].storage;
    header.msg_namelen = sizeof buffers_->from[i].storage;
    header.msg_iov = &buffers_->receive_parts[i];
    header.msg_iovlen = 1;
    header.msg_control = buffers_->receive_control[i].data();
    header.msg_controllen = kControlBytes;
  }
  const int arrived =
      recvmmsg(fd_, buffers_->receive.data(), static_cast<unsigned>(count), MSG_DONTWAIT, nullptr);
  if (arrived < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) read_errors();
  size_t given = 0;
  for (int i = 0; i < arrived; ++i) {
    msghdr& header = buffers_->receive[i].msg_hdr;
    if (header.msg_flags & MSG_TRUNC) {
      ++counters_.truncated;
      continue;
    }
    const size_t bytes = buffers_->receive[i].msg_len;
    Arrival& arrival = out[given++];
    buffers_->from[i].length = header.msg_namelen;
    arrival = {&buffers_->from[i],
               {buffers_->bytes[i].data(), bytes},
               static_cast<uint16_t>(bytes),
               Ecn::kNotEct};
    for (cmsghdr* c = CMSG_FIRSTHDR(&header); c != nullptr; c = CMSG_NXTHDR(&header, c)) {
      if (c->cmsg_level == SOL_UDP && c->cmsg_type == UDP_GRO) {
        arrival.segment_bytes = static_cast<uint16_t>(ControlValue<int>(c));
      } else if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SO_RXQ_OVFL) {
        counters_.receive_overflow = ControlValue<uint32_t>(c);
      } else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TOS) {
        arrival.ecn = static_cast<Ecn>(ControlValue<uint8_t>(c) & 3);
      } else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_TCLASS) {
        arrival.ecn = static_cast<Ecn>(ControlValue<int>(c) & 3);
      }
    }
  }
  return given;
}

}  // namespace farspan::udp
