// plain_tcp: a whole transport for Farspan in one file, to be copied. It needs farspan_transport.h
// and nothing else of Farspan.
//
// One TCP connection per comm. On the wire each message is a header of 16 bytes (length, tag, both
// little-endian as the machine has them) and then its bytes. The receiver reads a header only when
// the receive that it fills is posted, so posting order is matching order and TCP's own window
// holds senders back. A send is done when the kernel has its last byte.
//
// Every function is noexcept: an exception (memory is exhausted) ends the process rather than
// crossing into Farspan.
#include <arpa/inet.h>
#include <farspan_transport.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <deque>
#include <list>
#include <memory>
#include <string>
#include <vector>

namespace {

constexpr uint32_t kMaxRequests = 32;
constexpr uint32_t kMagic = 0x50544350;

struct Header {
  uint64_t bytes;
  uint64_t tag;
};

// What a listener's handle holds.
struct Address {
  uint32_t magic;
  socklen_t length;
  sockaddr_storage storage;
};
static_assert(sizeof(uint32_t) + sizeof(socklen_t) + sizeof(sockaddr_in6) <= FARSPAN_HANDLE_BYTES);

bool WouldBlock() { return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR; }

int Fail(farspan_error* error, const char* what) {
  std::snprintf(error->text, sizeof error->text, "%s: %s", what, std::strerror(errno));
  return FARSPAN_FAILED;
}

}  // namespace

struct farspan_request {
  farspan_comm* comm;
  char* data;
  uint64_t bytes;  // of the buffer; of the message, once its header is there
  uint32_t tag;
  bool done;
};

struct farspan_comm {
  int fd = -1;
  bool sends = false;
  int state = FARSPAN_AGAIN;
  std::string why;
  std::list<farspan_request> requests;   // until they are tested
  std::deque<farspan_request*> waiting;  // in the order of posting
  Header header{};                       // of the first that waits
  uint64_t moved = 0;                    // of its header and bytes

  ~farspan_comm() {
    if (fd >= 0) ::close(fd);
  }

  bool fail(const std::string& reason) {
    why = reason;
    state = FARSPAN_FAILED;
    shutdown(fd, SHUT_RDWR);
    return true;
  }

  // Each returns true if something came to an end.
  bool advance() {
    if (state == FARSPAN_AGAIN) return finish_connecting();
    if (state == FARSPAN_FAILED) return false;
    if (char none; sends) {  // a receiver sends nothing: this is how its going is seen
      const ssize_t n = recv(fd, &none, 1, 0);
      if (n == 0 || (n < 0 && !WouldBlock())) return fail("closed by the receiver");
    }
    bool ended = false;
    while (!waiting.empty() && state == FARSPAN_OK && move()) ended |= finish();
    return ended || state == FARSPAN_FAILED;
  }

  bool finish_connecting() {
    pollfd watched{fd, POLLOUT, 0};
    if (poll(&watched, 1, 0) <= 0) return false;
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0) return fail(std::strerror(error));
    state = FARSPAN_OK;
    return true;
  }

  // Moves a part of the first message that waits. False: the kernel has no more for now.
  bool move() {
    farspan_request& first = *waiting.front();
    if (sends) header = {first.bytes, first.tag};
    const bool in_header = moved < sizeof header;
    char* at =
        in_header ? reinterpret_cast<char*>(&header) + moved : first.data + (moved - sizeof header);
    const uint64_t left = in_header ? sizeof header - moved : first.bytes + sizeof header - moved;
    const ssize_t n = sends ? send(fd, at, left, MSG_NOSIGNAL) : recv(fd, at, left, 0);
    if (n < 0 && WouldBlock()) return false;
    if (n <= 0) return fail(n == 0 ? "closed by the sender" : std::strerror(errno));
    moved += static_cast<uint64_t>(n);
    if (!sends && in_header && moved == sizeof header) {
      if (header.bytes > first.bytes || header.tag != first.tag) {
        return fail("a message of " + std::to_string(header.bytes) + " bytes, tag " +
                    std::to_string(header.tag) + " met a receive of " +
                    std::to_string(first.bytes) + ", tag " + std::to_string(first.tag));
      }
      first.bytes = header.bytes;
    }
    return true;
  }

  bool finish() {
    if (state != FARSPAN_OK || moved < sizeof header) return false;
    if (moved - sizeof header < waiting.front()->bytes) return false;
    waiting.front()->done = true;
    waiting.pop_front();
    moved = 0;
    return true;
  }
};

struct farspan_listener {
  int fd = -1;
  ~farspan_listener() {
    if (fd >= 0) ::close(fd);
  }
};

struct farspan_instance {
  Address local{};  // port 0
  int timeout_ms = 0;
  std::list<farspan_comm> comms;
  std::list<farspan_listener> listeners;

  int new_socket() const {
    const int fd = ::socket(local.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0 && bind(fd, reinterpret_cast<const sockaddr*>(&local.storage), local.length) != 0) {
      ::close(fd);
      return -1;
    }
    return fd;
  }

  // A peer that is silent for timeout_ms is gone: for a sender by what it has not acknowledged, for
  // a receiver, which owes nothing, by probes.
  void prepare(int fd) const {
    const int on = 1, idle_s = std::max(1, timeout_ms / 2000);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms, sizeof timeout_ms);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &on, sizeof on);
  }
};

namespace {

int Open(const farspan_config* config, farspan_instance** instance, farspan_error* error) noexcept {
  auto made = std::make_unique<farspan_instance>();
  auto& v4 = reinterpret_cast<sockaddr_in&>(made->local.storage);
  auto& v6 = reinterpret_cast<sockaddr_in6&>(made->local.storage);
  if (inet_pton(AF_INET, config->local, &v4.sin_addr) == 1) {
    v4.sin_family = AF_INET;
    made->local.length = sizeof v4;
  } else if (inet_pton(AF_INET6, config->local, &v6.sin6_addr) == 1) {
    v6.sin6_family = AF_INET6;
    made->local.length = sizeof v6;
  } else {
    std::snprintf(error->text, sizeof error->text, "'%s' is no address", config->local);
    return FARSPAN_FAILED;
  }
  if (config->options[0] != '\0') {
    std::snprintf(error->text, sizeof error->text, "there are no options; got '%s'",
                  config->options);
    return FARSPAN_FAILED;
  }
  made->timeout_ms = static_cast<int>(config->timeout_ns / 1000000);
  *instance = made.release();
  return FARSPAN_OK;
}

void Close(farspan_instance* instance) noexcept { delete instance; }

void Properties(farspan_instance*, farspan_properties* properties) noexcept {
  *properties = {uint64_t{1} << 40, kMaxRequests, 0, 0};
}

int Listen(farspan_instance* instance, uint8_t* handle, farspan_listener** listener,
           farspan_error* error) noexcept {
  const int fd = instance->new_socket();
  if (fd < 0) return Fail(error, "no socket can be made");
  instance->listeners.emplace_back().fd = fd;
  *listener = &instance->listeners.back();
  if (::listen(fd, 64) != 0) return Fail(error, "listening");
  Address address{kMagic, sizeof address.storage, {}};
  getsockname(fd, reinterpret_cast<sockaddr*>(&address.storage), &address.length);
  std::memcpy(handle, &address, FARSPAN_HANDLE_BYTES);
  return FARSPAN_OK;
}

void StopListening(farspan_instance* instance, farspan_listener* listener) noexcept {
  instance->listeners.remove_if([=](const farspan_listener& one) { return &one == listener; });
}

int Accept(farspan_instance* instance, farspan_listener* listener, farspan_comm** comm) noexcept {
  const int fd = accept4(listener->fd, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (fd < 0) return FARSPAN_AGAIN;
  instance->prepare(fd);
  farspan_comm& made = instance->comms.emplace_back();
  made.fd = fd;
  made.state = FARSPAN_OK;
  *comm = &made;
  return FARSPAN_OK;
}

int Connect(farspan_instance* instance, const uint8_t* handle, farspan_comm** comm,
            farspan_error* error) noexcept {
  Address address{};
  std::memcpy(&address, handle, FARSPAN_HANDLE_BYTES);
  if (address.magic != kMagic || address.length > sizeof(sockaddr_in6)) {
    std::snprintf(error->text, sizeof error->text, "this is no handle of plain_tcp");
    return FARSPAN_FAILED;
  }
  const int fd = instance->new_socket();
  if (fd < 0) return Fail(error, "no socket can be made");
  instance->prepare(fd);
  farspan_comm& made = instance->comms.emplace_back();
  made.fd = fd;
  made.sends = true;
  *comm = &made;
  const auto* peer = reinterpret_cast<const sockaddr*>(&address.storage);
  if (::connect(fd, peer, address.length) == 0 || errno == EINPROGRESS) return FARSPAN_OK;
  Fail(error, "connecting");
  instance->comms.pop_back();
  return FARSPAN_FAILED;
}

int State(farspan_instance*, farspan_comm* comm) noexcept { return comm->state; }

const char* Failure(farspan_instance*, farspan_comm* comm) noexcept { return comm->why.c_str(); }

void CloseComm(farspan_instance* instance, farspan_comm* comm) noexcept {
  instance->comms.remove_if([=](const farspan_comm& one) { return &one == comm; });
}

int Post(farspan_comm* comm, char* data, uint64_t bytes, uint32_t tag,
         farspan_request** request) noexcept {
  if (comm->state != FARSPAN_OK || comm->requests.size() == kMaxRequests) return FARSPAN_AGAIN;
  comm->requests.push_back({comm, data, bytes, tag, false});
  *request = &comm->requests.back();
  comm->waiting.push_back(*request);
  comm->advance();
  return FARSPAN_OK;
}

int PostSend(farspan_instance*, farspan_comm* comm, const void* data, uint64_t bytes, uint32_t tag,
             uint32_t /*memory*/, farspan_request** request) noexcept {
  return Post(comm, static_cast<char*>(const_cast<void*>(data)), bytes, tag, request);
}

int PostRecv(farspan_instance*, farspan_comm* comm, void* data, uint64_t bytes, uint32_t tag,
             uint32_t /*memory*/, farspan_request** request) noexcept {
  return Post(comm, static_cast<char*>(data), bytes, tag, request);
}

int Test(farspan_instance*, farspan_request* request, uint64_t* bytes) noexcept {
  farspan_comm& comm = *request->comm;
  if (!request->done && comm.state != FARSPAN_FAILED) return FARSPAN_AGAIN;
  const int answer = request->done ? FARSPAN_OK : FARSPAN_FAILED;
  *bytes = request->bytes;
  const auto is_it = [=](const farspan_request* one) { return one == request; };
  comm.waiting.erase(std::remove_if(comm.waiting.begin(), comm.waiting.end(), is_it),
                     comm.waiting.end());
  comm.requests.remove_if([=](const farspan_request& one) { return &one == request; });
  return answer;
}

int Progress(farspan_instance* instance, int64_t timeout_ns) noexcept {
  bool ended = false;
  std::vector<pollfd> watched;
  for (farspan_comm& comm : instance->comms) ended |= comm.advance();
  if (ended) return FARSPAN_OK;
  for (const farspan_listener& listener : instance->listeners) {
    watched.push_back({listener.fd, POLLIN, 0});
  }
  for (const farspan_comm& comm : instance->comms) {
    if (comm.state == FARSPAN_FAILED) continue;
    const bool out = comm.state == FARSPAN_AGAIN || (comm.sends && !comm.waiting.empty());
    const bool in = comm.sends || !comm.waiting.empty();
    watched.push_back({comm.fd, static_cast<short>((out ? POLLOUT : 0) | (in ? POLLIN : 0)), 0});
  }
  const timespec at_most{timeout_ns / 1000000000, timeout_ns % 1000000000};
  if (ppoll(watched.data(), watched.size(), &at_most, nullptr) <= 0) return FARSPAN_AGAIN;
  for (farspan_comm& comm : instance->comms) comm.advance();
  return FARSPAN_OK;
}

}  // namespace

const farspan_transport_ops farspan_transport_plugin = {
    FARSPAN_TRANSPORT_ABI,
    sizeof(farspan_transport_ops),
    "plain_tcp",
    Open,
    Close,
    Properties,
    Listen,
    StopListening,
    Accept,
    Connect,
    State,
    Failure,
    CloseComm,
    PostSend,
    PostRecv,
    Test,
    Progress,
    nullptr,
    nullptr,
};
