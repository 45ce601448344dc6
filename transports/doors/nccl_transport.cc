#include "transports/doors/nccl_transport.h"

#include <fmt/format.h>
#include <sched.h>

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <mutex>

#include "transports/drivers/monotonic.h"

namespace farspan::doors {
namespace {

using transport::CommId;
using transport::CommState;
using transport::Completion;
using transport::ListenId;
using transport::Progress;
using transport::RequestId;

constexpr int kIdleRounds = 50;      // that only yield the processor
constexpr int64_t kNapNs = 20'000;   // after them
constexpr TimeNs kShortest{50'000};  // of a progress() that may sleep

// What plugins log last goes into the texts of failures. Their threads may log too.
std::mutex last_warning_mutex;
std::string last_warning;

std::string TakeWarning() {
  const std::lock_guard lock(last_warning_mutex);
  return std::exchange(last_warning, {});
}

// NCCL_DEBUG=INFO, or any other value, shows what plugins log.
__attribute__((format(printf, 5, 6))) void LogOfPlugin(int level, unsigned long /*flags*/,
                                                       const char* /*file*/, int /*line*/,
                                                       const char* format, ...) {
  char text[512];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  if (level <= nccl::kLogInfo && std::getenv("NCCL_DEBUG") != nullptr) {
    fmt::print(stderr, "plugin: {}\n", text);
  }
  if (level > nccl::kLogWarn) return;
  const std::lock_guard lock(last_warning_mutex);
  last_warning = text;
}

std::string_view NameOf(nccl::Status result) {
  static constexpr std::string_view kNames[] = {
      "success",          "unhandled CUDA error", "system error", "internal error",
      "invalid argument", "invalid usage",        "remote error", "in progress"};
  const auto index = static_cast<size_t>(result);
  return index < std::size(kNames) ? kNames[index] : "an unknown result";
}

std::string Text(NcclNet& net, const char* call, nccl::Status result) {
  const std::string said = TakeWarning();
  return fmt::format("NCCL plugin {} (v{}): {}: {} ({}){}{}", net.name(), net.version(), call,
                     NameOf(result), static_cast<int>(result),
                     said.empty() ? "" : "; it logged: ", said);
}

Result<NcclDevice> UsableDevice(NcclNet& net, const std::string& path, int index) {
  const auto refuse = [&](const std::string& why) { return Fail(ErrorCode::kMachine, why, path); };
  int count = 0;
  if (const auto done = net.devices(count); done != nccl::kSuccess) {
    return refuse(Text(net, "devices", done));
  }
  if (index >= count) {
    return refuse(
        fmt::format("NCCL plugin {} finds {} devices on this machine: there is no device {}",
                    net.name(), count, index));
  }
  NcclDevice device;
  if (const auto done = net.device(index, device); done != nccl::kSuccess) {
    return refuse(Text(net, "getProperties", done));
  }
  if ((device.pointer_support & nccl::kPointerHost) == 0 ||
      device.device_type != nccl::kDeviceHost) {
    return refuse(
        fmt::format("device {} of NCCL plugin {} does not move host memory by itself "
                    "(ptrSupport {}, netDeviceType {})",
                    index, net.name(), device.pointer_support, device.device_type));
  }
  return device;
}

}  // namespace

Result<std::unique_ptr<NcclTransport>> NcclTransport::Open(std::unique_ptr<NcclNet> net,
                                                           const std::string& path, int device) {
  if (const auto done = net->init(&LogOfPlugin); done != nccl::kSuccess) {
    return Fail(ErrorCode::kMachine, Text(*net, "init", done), path);
  }
  const auto properties = UsableDevice(*net, path, device);
  if (!properties) {
    net->finalize();
    return tl::unexpected(properties.error());
  }
  return std::unique_ptr<NcclTransport>(new NcclTransport(std::move(net), device, *properties));
}

NcclTransport::~NcclTransport() {
  while (!comms_.comms().empty()) close({comms_.comms().begin()->first});
  while (!comms_.listeners().empty()) stop_listening({comms_.listeners().begin()->first});
  net_->finalize();
}

transport::Properties NcclTransport::properties() const {
  return {net_->name(), properties_.max_message_bytes, nccl::kMaxRequests,
          static_cast<uint64_t>(std::max(properties_.speed_mbps, 0)) * 1'000'000,
          TimeNs{static_cast<int64_t>(properties_.latency_us * 1e3F)}};
}

TimeNs NcclTransport::now() const { return MonotonicNow(); }

// False: the comm has failed by this call.
bool NcclTransport::works(Comm& comm, nccl::Status result, const char* call) {
  if (result == nccl::kSuccess) return true;
  comm.state = CommState::kFailed;
  comm.failure = Text(*net_, call, result);
  return false;
}

Result<ListenId> NcclTransport::listen(transport::Handle& handle) {
  static_assert(std::tuple_size_v<transport::Handle> == nccl::kHandleBytes);
  handle = {};
  Listener listener;
  const auto done = net_->listen(device_, handle.data(), &listener.theirs);
  if (done != nccl::kSuccess || listener.theirs == nullptr) {
    return Fail(ErrorCode::kMachine, Text(*net_, "listen", done));
  }
  return comms_.listen(listener);
}

void NcclTransport::stop_listening(ListenId id) {
  const auto& [listener, accepted] = comms_.find(id);
  for (const CommId comm : accepted) close(comm);
  net_->close_listener(listener.theirs);
  comms_.erase(id);
}

std::optional<CommId> NcclTransport::accept(ListenId listener) { return comms_.accept(listener); }

Result<CommId> NcclTransport::connect(const transport::Handle& handle) {
  const CommId id = comms_.add(std::make_unique<Comm>());
  Comm& comm = comms_.find(id);
  comm.sends = true;
  comm.handle = handle;
  advance_connect(comm);
  if (comm.state != CommState::kFailed) return id;
  const std::string why = comm.failure;
  comms_.erase(id);
  return Fail(ErrorCode::kIo, why);
}

CommState NcclTransport::state(CommId comm) const { return comms_.find(comm).state; }
std::string_view NcclTransport::failure(CommId comm) const { return comms_.find(comm).failure; }

void NcclTransport::close(CommId id) {
  requests_.each([&](Entry& entry) {
    if (entry.comm == id.value) release(entry);
  });
  Comm& comm = comms_.find(id);
  if (comm.theirs != nullptr) {
    for (const auto& [number, memory] : comm.registered) {
      net_->deregister_memory(comm.theirs, memory);
    }
    net_->close(comm.theirs, comm.sends);
  }
  comms_.erase(id);
}

Result<uint32_t> NcclTransport::register_memory(void* data, uint64_t bytes) {
  memory_[next_memory_] = {data, bytes};
  return next_memory_++;
}

void NcclTransport::deregister_memory(uint32_t number) {
  for (auto& [id, comm] : comms_.comms()) {
    const auto found = comm->registered.find(number);
    if (found == comm->registered.end()) continue;
    net_->deregister_memory(comm->theirs, found->second);
    comm->registered.erase(found);
  }
  memory_.erase(number);
}

// The plugin's name for the memory of a message. False: the comm has failed.
bool NcclTransport::memory_for(Comm& comm, const transport::Buffer& buffer, void** memory,
                               bool& temporary) {
  const auto range = memory_.find(buffer.memory);
  temporary = range == memory_.end();
  if (temporary) {
    return works(comm, net_->register_memory(comm.theirs, buffer.data, buffer.bytes, memory),
                 "regMr");
  }
  const auto known = comm.registered.find(buffer.memory);
  if (known != comm.registered.end()) {
    *memory = known->second;
    return true;
  }
  const auto done =
      net_->register_memory(comm.theirs, range->second.data, range->second.bytes, memory);
  if (!works(comm, done, "regMr")) return false;
  comm.registered[buffer.memory] = *memory;
  return true;
}

std::optional<RequestId> NcclTransport::post(CommId id, const transport::Buffer& buffer,
                                             uint32_t tag) {
  Comm& comm = comms_.find(id);
  if (comm.state != CommState::kReady || comm.pending == nccl::kMaxRequests) return std::nullopt;
  transport::Buffer used = buffer;
  if (used.bytes == 0) used = {empty_message_, sizeof empty_message_, 0};
  Posted posted;
  posted.bytes = buffer.bytes;
  if (!memory_for(comm, used, &posted.memory, posted.temporary)) return std::nullopt;
  const auto done = comm.sends
                        ? net_->send(comm.theirs, used.data, buffer.bytes, static_cast<int>(tag),
                                     posted.memory, &posted.theirs)
                        : net_->receive(comm.theirs, used.data, buffer.bytes, static_cast<int>(tag),
                                        posted.memory, &posted.theirs);
  const bool good = works(comm, done, comm.sends ? "isend" : "irecv");
  if (!good || posted.theirs == nullptr) {
    if (posted.temporary) net_->deregister_memory(comm.theirs, posted.memory);
    return std::nullopt;
  }
  ++comm.pending;
  return requests_.add(id, posted);
}

std::optional<RequestId> NcclTransport::post_send(CommId comm, const transport::Buffer& buffer,
                                                  uint32_t tag) {
  FARSPAN_CHECK(comms_.find(comm).sends);
  return post(comm, buffer, tag);
}

std::optional<RequestId> NcclTransport::post_recv(CommId comm, const transport::Buffer& buffer,
                                                  uint32_t tag) {
  FARSPAN_CHECK(!comms_.find(comm).sends);
  return post(comm, buffer, tag);
}

void NcclTransport::release(Entry& entry) {
  Comm& comm = comms_.find(CommId{entry.comm});
  if (entry.theirs.temporary) net_->deregister_memory(comm.theirs, entry.theirs.memory);
  --comm.pending;
  requests_.release(entry);
}

Completion NcclTransport::test(RequestId id) {
  Entry& entry = requests_.find(id);
  advance_request(entry);
  const bool failed =
      !entry.theirs.done && comms_.find(CommId{entry.comm}).state == CommState::kFailed;
  if (!failed && !entry.theirs.done) return {};
  const Completion completion{failed ? Progress::kFailed : Progress::kDone, entry.theirs.bytes};
  release(entry);
  return completion;
}

// Each advance… is true if something came to an end.
bool NcclTransport::advance_request(Entry& entry) {
  Comm& comm = comms_.find(CommId{entry.comm});
  if (entry.theirs.done || comm.state == CommState::kFailed) return false;
  int bytes = 0;
  if (!works(comm, net_->test(entry.theirs.theirs, entry.theirs.done, bytes), "test")) {
    entry.theirs.done = false;
    return true;
  }
  if (entry.theirs.done && !comm.sends) entry.theirs.bytes = static_cast<uint64_t>(bytes);
  return entry.theirs.done;
}

bool NcclTransport::advance_connect(Comm& comm) {
  if (comm.state != CommState::kConnecting) return false;
  const auto done = net_->connect(device_, comm.handle.data(), &comm.theirs);
  if (!works(comm, done, "connect")) return true;
  if (comm.theirs == nullptr) return false;
  comm.state = CommState::kReady;
  return true;
}

bool NcclTransport::advance_listener(Comms::Listening& listening) {
  Listener& listener = listening.listener;
  if (listener.broken) return false;
  auto comm = std::make_unique<Comm>();
  const auto done = net_->accept(listener.theirs, &comm->theirs);
  if (done == nccl::kSuccess && comm->theirs == nullptr) return false;
  comm->state = CommState::kReady;
  listener.broken = !works(*comm, done, "accept");
  listening.accepted.push_back(comms_.add(std::move(comm)));
  return true;
}

bool NcclTransport::advance() {
  bool ended = false;
  for (auto& [id, listening] : comms_.listeners()) ended |= advance_listener(listening);
  for (auto& [id, comm] : comms_.comms()) ended |= advance_connect(*comm);
  requests_.each([&](Entry& entry) { ended |= advance_request(entry); });
  return ended;
}

void NcclTransport::progress(TimeNs until) {
  for (int round = 0;; ++round) {
    if (advance()) {
      if (listener_ != nullptr) listener_->on_progress();
      return;
    }
    const TimeNs now = this->now();
    if (now >= until) return;
    if (round < kIdleRounds || until - now < kShortest) {
      sched_yield();
    } else {
      const timespec nap{0, kNapNs};
      nanosleep(&nap, nullptr);
    }
  }
}

}  // namespace farspan::doors
