#include "transports/nccl/plugin.h"

#include <fmt/format.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/random.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <cstring>

#include "emulator/base/units.h"
#include "transports/baselines/tcp_transport.h"
#include "transports/congestion/controllers.h"
#include "transports/core/span.h"
#include "transports/drivers/udp/udp_transport.h"

namespace farspan::nccl_plugin {
namespace {

using namespace doors::nccl;
using transport::CommId;
using transport::CommState;
using transport::Completion;
using transport::ListenId;
using transport::Progress;
using transport::Transport;

constexpr std::chrono::microseconds kMoveEvery{100};
constexpr TimeNs kTimeout{60'000'000'000};
constexpr TimeNs kDrain{2'000'000'000};  // that the end waits for peers at most

std::string Environment(const char* name, const char* otherwise) {
  const char* value = std::getenv(name);
  return value == nullptr || *value == '\0' ? otherwise : value;
}

// FARSPAN_LOCAL, or the first address that is not the loopback interface's.
Result<SocketAddress> Local() {
  const std::string told = Environment("FARSPAN_LOCAL", "");
  if (!told.empty()) {
    const bool v6 = told.find(':') != std::string::npos;
    return ParseSocketAddress(v6 ? "[" + told + "]:0" : told + ":0");
  }
  ifaddrs* all = nullptr;
  if (getifaddrs(&all) != 0) return Fail(ErrorCode::kMachine, "the interfaces cannot be listed");
  SocketAddress found = *ParseSocketAddress("127.0.0.1:0");
  for (const ifaddrs* one = all; one != nullptr; one = one->ifa_next) {
    const bool usable = one->ifa_addr != nullptr && one->ifa_addr->sa_family == AF_INET &&
                        (one->ifa_flags & IFF_UP) != 0 && (one->ifa_flags & IFF_LOOPBACK) == 0;
    if (!usable) continue;
    std::memcpy(&found.storage, one->ifa_addr, sizeof(sockaddr_in));
    break;
  }
  freeifaddrs(all);
  return WithPort(found, 0);
}

Result<std::unique_ptr<Transport>> OpenTcp(const SocketAddress& local) {
  baselines::TcpConfig config;
  config.local = local;
  config.timeout = kTimeout;
  auto opened = baselines::TcpTransport::Open(config);
  if (!opened) return tl::unexpected(opened.error());
  return std::unique_ptr<Transport>(std::move(*opened));
}

Result<std::unique_ptr<Transport>> OpenSpan(const SocketAddress& local) {
  transport::RegisterControllers();
  const auto rate = ParseRate(Environment("FARSPAN_RATE", "10 Gbps"));
  if (!rate) return Fail(ErrorCode::kInvalid, rate.error().message, "FARSPAN_RATE");
  transport::SpanConfig config;
  config.recovery = Environment("FARSPAN_RECOVERY", "auto");
  config.congestion = Environment("FARSPAN_CONGESTION", "bbr");
  config.payload_bytes = 1408;
  config.controller.rate = *rate;
  config.timeout = kTimeout;
  if (getrandom(&config.seed, sizeof config.seed, 0) != sizeof config.seed) {
    return Fail(ErrorCode::kMachine, "the system gives no random numbers");
  }
  auto span = transport::Span::Create(config);
  if (!span) return tl::unexpected(span.error());
  udp::UdpConfig udp;
  udp.local = {local};
  auto opened = udp::UdpTransport::Open(udp, std::move(*span),
                                        {"span",
                                         transport::MaxMessageBytes(config.payload_bytes),
                                         config.max_requests,
                                         rate->bits_per_s,
                                         {}});
  if (!opened) return tl::unexpected(opened.error());
  return std::unique_ptr<Transport>(std::move(*opened));
}

Result<std::unique_ptr<Transport>> OpenTransport() {
  const std::string net = Environment("FARSPAN_NET", "udp");
  const auto local = Local();
  if (!local) return tl::unexpected(local.error());
  if (net == "udp") return OpenSpan(*local);
  if (net == "tcp") return OpenTcp(*local);
  return Fail(ErrorCode::kInvalid, "'" + net + "' is no net; there are udp (Span) and tcp",
              "FARSPAN_NET");
}

void* Encode(uint32_t id) { return reinterpret_cast<void*>(uintptr_t{id} + 1); }
uint32_t Decode(void* pointer) {
  return static_cast<uint32_t>(reinterpret_cast<uintptr_t>(pointer) - 1);
}

}  // namespace

Plugin& Plugin::Instance() {
  static Plugin& plugin = *new Plugin;  // never destroyed: NCCL's threads may outlive main
  return plugin;
}

Status Plugin::fail(Status answer, const std::string& text) {
  if (log_ != nullptr) log_(kLogWarn, ~0ul, __FILE__, __LINE__, "NET/Farspan: %s", text.c_str());
  return answer;
}

Status Plugin::failed(const Comm& comm) {
  return fail(kRemoteError, std::string(transport_->failure(comm.id)));
}

Status Plugin::init(Log log) {
  const std::lock_guard alone(lifetime_);
  const std::lock_guard lock(mutex_);
  log_ = log;
  if (users_ == 0) {
    auto opened = OpenTransport();
    if (!opened) return fail(kSystemError, opened.error().text());
    transport_ = std::move(*opened);
    name_ = transport_->properties().name;
    static const int registered = std::atexit([] { Instance().leave(); });
    if (registered != 0) return fail(kSystemError, "the end of the process cannot be waited for");
    process_ = getpid();
    stop_ = false;
    mover_ = std::thread([this] { keep_moving(); });
  }
  ++users_;
  return kSuccess;
}

void Plugin::stop_moving() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  stopped_.notify_one();
  if (mover_.joinable()) mover_.join();
}

Status Plugin::finalize() {
  const std::lock_guard alone(lifetime_);
  {
    const std::lock_guard lock(mutex_);
    if (users_ == 0 || --users_ > 0) return kSuccess;
  }
  stop_moving();
  for (const auto& [address, comm] : comms_) shut(*comm);
  transport_->drain(transport_->now() + kDrain);
  comms_.clear();
  connecting_.clear();
  transport_.reset();
  return kSuccess;
}

// The process ends, or the library is unloaded. Other threads may still call in: what they hold
// stays, and is closed. A child of fork() has copies that are its parent's to close.
void Plugin::leave() {
  if (process_ != getpid()) return;
  const std::lock_guard alone(lifetime_);
  stop_moving();
  const std::lock_guard lock(mutex_);
  if (transport_ == nullptr) return;
  for (const auto& [address, comm] : comms_) shut(*comm);
  transport_->drain(transport_->now() + kDrain);
}

void Plugin::shut(Comm& comm) {
  if (comm.open) transport_->close(comm.id);
  comm.open = false;
}

Status Plugin::add(Comm comm, void** added) {
  auto made = std::make_unique<Comm>(std::move(comm));
  *added = made.get();
  comms_.emplace(made.get(), std::move(made));
  return kSuccess;
}

void Plugin::keep_moving() {
  std::unique_lock lock(mutex_);
  while (!stopped_.wait_for(lock, kMoveEvery, [this] { return stop_; })) move();
}

transport::Properties Plugin::properties() const { return transport_->properties(); }

Status Plugin::listen(void* handle, void** listener) {
  const std::lock_guard lock(mutex_);
  transport::Handle ours;
  const auto made = transport_->listen(ours);
  if (!made) return fail(kSystemError, made.error().text());
  std::memcpy(handle, ours.data(), ours.size());
  *listener = Encode(made->value);
  return kSuccess;
}

Status Plugin::connect(void* handle, void** comm) {
  const std::lock_guard lock(mutex_);
  *comm = nullptr;
  Asked asked{handle, {}};
  std::memcpy(asked.second.data(), handle, asked.second.size());
  auto found = connecting_.find(asked);
  if (found == connecting_.end()) {
    const auto made = transport_->connect(asked.second);
    if (!made) return fail(kInvalidArgument, made.error().text());
    found = connecting_.emplace(asked, *made).first;
  }
  move();
  const transport::CommId id = found->second;
  if (transport_->state(id) == CommState::kConnecting) return kSuccess;
  connecting_.erase(found);
  if (transport_->state(id) == CommState::kReady) return add({id, true}, comm);
  const Status answer = failed({id, true});
  transport_->close(id);
  return answer;
}

Status Plugin::accept(void* listener, void** comm) {
  const std::lock_guard lock(mutex_);
  *comm = nullptr;
  move();
  const auto accepted = transport_->accept(ListenId{Decode(listener)});
  return accepted ? add({*accepted, false}, comm) : kSuccess;
}

Status Plugin::register_memory(void* data, size_t bytes, int type, void** memory) {
  const std::lock_guard lock(mutex_);
  if (type != kPointerHost) return fail(kInvalidArgument, "only host memory can be registered");
  const auto registered = transport_->register_memory(data, bytes);
  if (!registered) return fail(kSystemError, registered.error().text());
  *memory = Encode(*registered);
  return kSuccess;
}

Status Plugin::deregister_memory(void* memory) {
  const std::lock_guard lock(mutex_);
  transport_->deregister_memory(Decode(memory));
  return kSuccess;
}

Status Plugin::post(void* opaque, void* data, size_t bytes, void* memory, void** request) {
  const std::lock_guard lock(mutex_);
  Comm* comm = static_cast<Comm*>(opaque);
  *request = nullptr;
  if (!comm->open) return fail(kSystemError, "the process ends");
  if (transport_->state(comm->id) != CommState::kReady) return failed(*comm);
  const transport::Buffer buffer{data, bytes, Decode(memory)};
  const auto posted = comm->sends ? transport_->post_send(comm->id, buffer, 0)
                                  : transport_->post_recv(comm->id, buffer, 0);
  if (!posted) return kSuccess;
  auto made = std::make_unique<Request>(Request{*posted, comm});
  *request = made.get();
  comm->requests.emplace(made.get(), std::move(made));
  return kSuccess;
}

Status Plugin::test(void* opaque, int* done, int* bytes) {
  const std::lock_guard lock(mutex_);
  Request* request = static_cast<Request*>(opaque);
  if (!request->comm->open) return fail(kSystemError, "the process ends");
  move();
  const Completion completion = transport_->test(request->id);
  *done = completion.progress == Progress::kPending ? 0 : 1;
  if (*done == 0) return kSuccess;
  Comm& comm = *request->comm;
  comm.requests.erase(request);
  if (completion.progress == Progress::kFailed) return failed(comm);
  if (bytes != nullptr) *bytes = static_cast<int>(completion.bytes);
  return kSuccess;
}

Status Plugin::close(void* opaque) {
  const std::lock_guard lock(mutex_);
  Comm* comm = static_cast<Comm*>(opaque);
  shut(*comm);
  comms_.erase(comm);
  return kSuccess;
}

Status Plugin::close_listener(void* listener) {
  const std::lock_guard lock(mutex_);
  transport_->stop_listening(ListenId{Decode(listener)});
  return kSuccess;
}

}  // namespace farspan::nccl_plugin
