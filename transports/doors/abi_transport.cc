#include "transports/doors/abi_transport.h"

#include <fmt/format.h>

#include <algorithm>

#include "transports/drivers/monotonic.h"

namespace farspan::doors {
namespace {

using transport::CommId;
using transport::CommState;
using transport::Completion;
using transport::ListenId;
using transport::Progress;
using transport::RequestId;

constexpr int64_t kNapNs = 50'000;  // where the library cannot wait itself
constexpr uint32_t kLeastRequests = 8;

Result<void> Check(const farspan_transport_ops& ops, const std::string& path) {
  const auto refuse = [&](const std::string& why) {
    return Fail(ErrorCode::kInvalid, why + "; build it against this farspan's farspan_transport.h",
                path);
  };
  if (ops.abi != FARSPAN_TRANSPORT_ABI) {
    return refuse(fmt::format("the library speaks version {} of the transports' ABI, farspan {}",
                              ops.abi, FARSPAN_TRANSPORT_ABI));
  }
  if (ops.size != sizeof ops) {
    return refuse(fmt::format("the library's farspan_transport_ops has {} bytes, farspan's {}",
                              ops.size, sizeof ops));
  }
  std::string missing;
  for (const auto& [name, there] : {std::pair{"name", ops.name != nullptr},
                                    {"open", ops.open != nullptr},
                                    {"close", ops.close != nullptr},
                                    {"properties", ops.properties != nullptr},
                                    {"listen", ops.listen != nullptr},
                                    {"stop_listening", ops.stop_listening != nullptr},
                                    {"accept", ops.accept != nullptr},
                                    {"connect", ops.connect != nullptr},
                                    {"state", ops.state != nullptr},
                                    {"failure", ops.failure != nullptr},
                                    {"close_comm", ops.close_comm != nullptr},
                                    {"post_send", ops.post_send != nullptr},
                                    {"post_recv", ops.post_recv != nullptr},
                                    {"test", ops.test != nullptr}}) {
    if (!there) missing += fmt::format(" {}", name);
  }
  if (!missing.empty()) return refuse("farspan_transport_plugin lacks:" + missing);
  if ((ops.register_memory == nullptr) != (ops.deregister_memory == nullptr)) {
    return refuse("register_memory and deregister_memory come together or not at all");
  }
  return {};
}

std::string TextOf(farspan_error& error) {
  error.text[sizeof error.text - 1] = '\0';
  return error.text[0] == '\0' ? "the library does not say why" : error.text;
}

// What a call may answer.
constexpr const char* kOkOrFailed = "FARSPAN_OK (0) or FARSPAN_FAILED (-1)";
constexpr const char* kOkOrAgain = "FARSPAN_OK (0) or FARSPAN_AGAIN (1)";
constexpr const char* kAll = "FARSPAN_OK (0), FARSPAN_AGAIN (1) or FARSPAN_FAILED (-1)";

// `object`: what success had to come with.
std::string Breach(const farspan_transport_ops& ops, const std::string& path, const char* call,
                   int answer, const char* expected, const char* object = "") {
  const std::string without =
      answer == FARSPAN_OK ? fmt::format(" without a {}", object) : std::string();
  return fmt::format("{} ({}) breaks the ABI: {} answered {}{}, expected {}{}", ops.name, path,
                     call, answer, without, expected, without.empty() ? "" : " with one");
}

// Of a call that has not succeeded.
Error Refusal(const farspan_transport_ops& ops, const std::string& path, const char* call,
              int answer, farspan_error& error, const char* object, ErrorCode code) {
  if (answer != FARSPAN_FAILED) {
    return {code, Breach(ops, path, call, answer, kOkOrFailed, object), {}};
  }
  return {code, fmt::format("{}: {}: {}", ops.name, call, TextOf(error)), path};
}

}  // namespace

Result<std::unique_ptr<AbiTransport>> AbiTransport::Open(const farspan_transport_ops& ops,
                                                         const std::string& path,
                                                         const DoorConfig& config) {
  if (auto usable = Check(ops, path); !usable) return tl::unexpected(usable.error());
  const farspan_config theirs{sizeof theirs, config.local.c_str(), config.options.c_str(),
                              config.timeout.ns};
  farspan_instance* instance = nullptr;
  farspan_error error{};
  if (const int answer = ops.open(&theirs, &instance, &error);
      answer != FARSPAN_OK || instance == nullptr) {
    return tl::unexpected(
        Refusal(ops, path, "open", answer, error, "instance", ErrorCode::kMachine));
  }
  std::unique_ptr<AbiTransport> made(new AbiTransport(ops, instance, path));
  if (const uint32_t most = made->properties().max_requests; most < kLeastRequests) {
    return Fail(ErrorCode::kInvalid,
                fmt::format("{} breaks the ABI: properties has max_requests {}, expected at least "
                            "{}",
                            ops.name, most, kLeastRequests),
                path);
  }
  return made;
}

AbiTransport::~AbiTransport() { ops_.close(instance_); }

transport::Properties AbiTransport::properties() const {
  farspan_properties theirs{};
  ops_.properties(instance_, &theirs);
  return {ops_.name, theirs.max_message_bytes, theirs.max_requests, theirs.bits_per_s,
          TimeNs{theirs.latency_ns}};
}

TimeNs AbiTransport::now() const { return MonotonicNow(); }

Result<ListenId> AbiTransport::listen(transport::Handle& handle) {
  static_assert(std::tuple_size_v<transport::Handle> == FARSPAN_HANDLE_BYTES);
  farspan_listener* listener = nullptr;
  farspan_error error{};
  handle = {};
  if (const int answer = ops_.listen(instance_, handle.data(), &listener, &error);
      answer != FARSPAN_OK || listener == nullptr) {
    return tl::unexpected(
        Refusal(ops_, path_, "listen", answer, error, "listener", ErrorCode::kMachine));
  }
  return comms_.listen(listener);
}

void AbiTransport::stop_listening(ListenId listener) {
  ops_.stop_listening(instance_, comms_.find(listener).listener);
  comms_.erase(listener);
}

std::optional<CommId> AbiTransport::accept(ListenId listener) {
  farspan_comm* comm = nullptr;
  if (broken_.empty()) {
    const int answer = ops_.accept(instance_, comms_.find(listener).listener, &comm);
    if (answer == FARSPAN_AGAIN) return std::nullopt;
    if (answer != FARSPAN_OK || comm == nullptr) {
      broken_ = Breach(ops_, path_, "accept", answer, kOkOrAgain, "comm");
      comm = nullptr;
    }
  }
  return comms_.add(std::make_unique<Comm>(Comm{comm}));
}

Result<CommId> AbiTransport::connect(const transport::Handle& handle) {
  farspan_comm* comm = nullptr;
  farspan_error error{};
  if (!broken_.empty()) return Fail(ErrorCode::kIo, broken_);
  if (const int answer = ops_.connect(instance_, handle.data(), &comm, &error);
      answer != FARSPAN_OK || comm == nullptr) {
    return tl::unexpected(Refusal(ops_, path_, "connect", answer, error, "comm", ErrorCode::kIo));
  }
  return comms_.add(std::make_unique<Comm>(Comm{comm}));
}

CommState AbiTransport::state(CommId id) const {
  if (!broken_.empty()) return CommState::kFailed;
  const int answer = ops_.state(instance_, comms_.find(id).theirs);
  switch (answer) {
    case FARSPAN_OK:
      return CommState::kReady;
    case FARSPAN_AGAIN:
      return CommState::kConnecting;
    case FARSPAN_FAILED:
      return CommState::kFailed;
    default:
      broken_ = Breach(ops_, path_, "state", answer, kAll);
      return CommState::kFailed;
  }
}

std::string_view AbiTransport::failure(CommId id) const {
  if (!broken_.empty()) return broken_;
  const char* text = ops_.failure(instance_, comms_.find(id).theirs);
  return text == nullptr ? "" : text;
}

void AbiTransport::close(CommId id) {
  requests_.each([&](auto& entry) {
    if (entry.comm == id.value) requests_.release(entry);
  });
  if (farspan_comm* theirs = comms_.find(id).theirs) ops_.close_comm(instance_, theirs);
  comms_.erase(id);
}

Result<uint32_t> AbiTransport::register_memory(void* data, uint64_t bytes) {
  if (ops_.register_memory == nullptr) return 0;
  uint32_t memory = 0;
  farspan_error error{};
  if (const int answer = ops_.register_memory(instance_, data, bytes, &memory, &error);
      answer != FARSPAN_OK) {
    return tl::unexpected(
        Refusal(ops_, path_, "register_memory", answer, error, "", ErrorCode::kMachine));
  }
  return memory;
}

void AbiTransport::deregister_memory(uint32_t memory) {
  if (ops_.deregister_memory != nullptr) ops_.deregister_memory(instance_, memory);
}

std::optional<RequestId> AbiTransport::posted(CommId id, const char* call, int answer,
                                              farspan_request* request) {
  if (answer == FARSPAN_AGAIN || answer == FARSPAN_FAILED) return std::nullopt;
  if (answer == FARSPAN_OK && request != nullptr) return requests_.add(id, request);
  broken_ = Breach(ops_, path_, call, answer, kAll, "request");
  return std::nullopt;
}

std::optional<RequestId> AbiTransport::post_send(CommId id, const transport::Buffer& buffer,
                                                 uint32_t tag) {
  if (!broken_.empty()) return std::nullopt;
  const Comm& comm = comms_.find(id);
  farspan_request* request = nullptr;
  const int answer = ops_.post_send(instance_, comm.theirs, buffer.data, buffer.bytes, tag,
                                    buffer.memory, &request);
  return posted(id, "post_send", answer, request);
}

std::optional<RequestId> AbiTransport::post_recv(CommId id, const transport::Buffer& buffer,
                                                 uint32_t tag) {
  if (!broken_.empty()) return std::nullopt;
  const Comm& comm = comms_.find(id);
  farspan_request* request = nullptr;
  const int answer = ops_.post_recv(instance_, comm.theirs, buffer.data, buffer.bytes, tag,
                                    buffer.memory, &request);
  return posted(id, "post_recv", answer, request);
}

Completion AbiTransport::test(RequestId id) {
  auto& entry = requests_.find(id);
  uint64_t bytes = 0;
  const int answer =
      broken_.empty() ? ops_.test(instance_, entry.theirs, &bytes) : int{FARSPAN_FAILED};
  if (answer == FARSPAN_AGAIN) return {};
  if (answer != FARSPAN_OK && answer != FARSPAN_FAILED) {
    broken_ = Breach(ops_, path_, "test", answer, kAll);
  }
  requests_.release(entry);
  return {answer == FARSPAN_OK ? Progress::kDone : Progress::kFailed, bytes};
}

void AbiTransport::progress(TimeNs until) {
  const int64_t left = std::max<int64_t>((until - now()).ns, 0);
  if (ops_.progress == nullptr || !broken_.empty()) {
    const timespec nap{0, std::min(left, kNapNs)};
    nanosleep(&nap, nullptr);
  } else {
    const int answer = ops_.progress(instance_, left);
    if (answer == FARSPAN_AGAIN) return;
    if (answer != FARSPAN_OK) broken_ = Breach(ops_, path_, "progress", answer, kOkOrAgain);
  }
  if (listener_ != nullptr) listener_->on_progress();
}

}  // namespace farspan::doors
