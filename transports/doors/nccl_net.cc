#include "transports/doors/nccl_net.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <mutex>
#include <set>

namespace farspan::doors {
namespace {

// What v8 can count, and NCCL's own limit for plugins that state none.
constexpr uint64_t kMaxMessage = uint64_t{1} << 30;

template <int kVersion>
class NetOf final : public NcclNet {
 public:
  explicit NetOf(const nccl::Net<kVersion>& net) : net_(net) {}

  int version() const override { return kVersion; }
  std::string name() const override { return net_.name == nullptr ? "a plugin" : net_.name; }

  std::string missing() const override {
    std::string names;
    for (const auto& [name, there] : {std::pair{"name", net_.name != nullptr},
                                      {"init", net_.init != nullptr},
                                      {"devices", net_.devices != nullptr},
                                      {"getProperties", net_.get_properties != nullptr},
                                      {"listen", net_.listen != nullptr},
                                      {"connect", net_.connect != nullptr},
                                      {"accept", net_.accept != nullptr},
                                      {"regMr", net_.register_memory != nullptr},
                                      {"deregMr", net_.deregister_memory != nullptr},
                                      {"isend", net_.isend != nullptr},
                                      {"irecv", net_.irecv != nullptr},
                                      {"test", net_.test != nullptr},
                                      {"closeSend", net_.close_send != nullptr},
                                      {"closeRecv", net_.close_receive != nullptr},
                                      {"closeListen", net_.close_listen != nullptr}}) {
      if (!there) names += fmt::format(" {}", name);
    }
    return names;
  }

  // Once per process up to v10, per communicator since.
  nccl::Status init(nccl::Log log) override {
    if constexpr (kVersion >= 11) {
      nccl::CommConfig config;
      return net_.init(&context_, ++comms_, &config, log, nullptr);
    } else {
      static std::mutex mutex;
      static std::set<const void*> initialised;
      const std::lock_guard lock(mutex);
      if (initialised.count(&net_) > 0) return nccl::kSuccess;
      nccl::Status result;
      if constexpr (kVersion == 10) {
        result = net_.init(log, nullptr);
      } else {
        result = net_.init(log);
      }
      if (result == nccl::kSuccess) initialised.insert(&net_);
      return result;
    }
  }

  nccl::Status devices(int& count) override { return net_.devices(&count); }

  nccl::Status device(int index, NcclDevice& device) override {
    nccl::Properties<kVersion> properties;
    const nccl::Status result = net_.get_properties(index, &properties);
    if (result != nccl::kSuccess) return result;
    if (properties.name != nullptr) device.name = properties.name;
    device.pointer_support = properties.pointer_support;
    device.device_type = properties.device_type;
    device.speed_mbps = properties.speed;
    device.latency_us = properties.latency;
    device.max_message_bytes = kMaxMessage;
    if constexpr (kVersion >= 9) {
      if (properties.max_p2p_bytes > 0) {
        device.max_message_bytes = std::min<uint64_t>(kMaxMessage, properties.max_p2p_bytes);
      }
    }
    return result;
  }

  nccl::Status listen(int device, void* handle, void** listener) override {
    if constexpr (kVersion >= 11) {
      return net_.listen(context_, device, handle, listener);
    } else {
      return net_.listen(device, handle, listener);
    }
  }

  nccl::Status connect(int device, void* handle, void** comm) override {
    nccl::DeviceHandle* on_gpu = nullptr;
    if constexpr (kVersion >= 11) {
      return net_.connect(context_, device, handle, comm, &on_gpu);
    } else if constexpr (kVersion == 10) {
      nccl::CommConfig config;
      return net_.connect(device, &config, handle, comm, &on_gpu);
    } else {
      return net_.connect(device, handle, comm, &on_gpu);
    }
  }

  nccl::Status accept(void* listener, void** comm) override {
    nccl::DeviceHandle* on_gpu = nullptr;
    return net_.accept(listener, comm, &on_gpu);
  }

  nccl::Status register_memory(void* comm, void* data, size_t bytes, void** memory) override {
    return net_.register_memory(comm, data, bytes, nccl::kPointerHost, memory);
  }
  nccl::Status deregister_memory(void* comm, void* memory) override {
    return net_.deregister_memory(comm, memory);
  }

  nccl::Status send(void* comm, void* data, size_t bytes, int tag, void* memory,
                    void** request) override {
    const auto size = static_cast<typename nccl::Net<kVersion>::Size>(bytes);
    if constexpr (kVersion >= 10) {
      return net_.isend(comm, data, size, tag, memory, nullptr, request);
    } else {
      return net_.isend(comm, data, size, tag, memory, request);
    }
  }

  nccl::Status receive(void* comm, void* data, size_t bytes, int tag, void* memory,
                       void** request) override {
    auto size = static_cast<typename nccl::Net<kVersion>::Size>(bytes);
    if constexpr (kVersion >= 10) {
      void* profiler = nullptr;
      return net_.irecv(comm, 1, &data, &size, &tag, &memory, &profiler, request);
    } else {
      return net_.irecv(comm, 1, &data, &size, &tag, &memory, request);
    }
  }

  nccl::Status test(void* request, bool& done, int& bytes) override {
    int is_done = 0;
    const nccl::Status result = net_.test(request, &is_done, &bytes);
    done = is_done != 0;
    return result;
  }

  nccl::Status close(void* comm, bool sends) override {
    return sends ? net_.close_send(comm) : net_.close_receive(comm);
  }
  nccl::Status close_listener(void* listener) override { return net_.close_listen(listener); }

  nccl::Status finalize() override {
    if constexpr (kVersion >= 11) {
      if (net_.finalize != nullptr) return net_.finalize(context_);
    }
    return nccl::kSuccess;
  }

 private:
  static inline std::atomic<uint64_t> comms_ = 0;
  const nccl::Net<kVersion>& net_;
  void* context_ = nullptr;
};

template <int kVersion>
Result<std::unique_ptr<NcclNet>> Find(const SharedLibrary& library, int newest) {
  const std::string symbol = fmt::format("ncclNetPlugin_v{}", kVersion);
  const void* net = kVersion <= newest ? library.find(symbol.c_str()) : nullptr;
  if (net != nullptr) {
    std::unique_ptr<NcclNet> found =
        std::make_unique<NetOf<kVersion>>(*static_cast<const nccl::Net<kVersion>*>(net));
    const std::string missing = found->missing();
    if (missing.empty()) return found;
    return Fail(ErrorCode::kInvalid, fmt::format("{} lacks:{}", symbol, missing), library.path());
  }
  if constexpr (kVersion > nccl::kOldest) {
    return Find<kVersion - 1>(library, newest);
  } else {
    return Fail(ErrorCode::kNotFound, "no such symbol");
  }
}

}  // namespace

Result<NcclOptions> ParseNcclOptions(const std::string& text) {
  const auto wrong = [&] {
    return Fail(ErrorCode::kInvalid,
                fmt::format("'{}' is no option of an NCCL plugin: expected device=N, version={} to "
                            "{} or both (all else plugins take from environment variables)",
                            text, nccl::kOldest, nccl::kNewest),
                "--transport-options");
  };
  NcclOptions options;
  for (std::string_view left = text; !left.empty();) {
    const std::string_view one = left.substr(0, left.find(','));
    left.remove_prefix(std::min(left.size(), one.size() + 1));
    const size_t equals = one.find('=');
    const bool device = one.substr(0, equals) == "device";
    if (equals == one.npos || (!device && one.substr(0, equals) != "version")) return wrong();
    int& value = device ? options.device : options.version;
    const char* end = one.data() + one.size();
    const auto [parsed, error] = std::from_chars(one.data() + equals + 1, end, value);
    if (error != std::errc{} || parsed != end || value < 0) return wrong();
  }
  if (options.version < nccl::kOldest || options.version > nccl::kNewest) return wrong();
  return options;
}

Result<std::unique_ptr<NcclNet>> FindNcclNet(const SharedLibrary& library, int version) {
  auto found = Find<nccl::kNewest>(library, version);
  if (found || found.error().code != ErrorCode::kNotFound) return found;
  for (int old = nccl::kOldest - 1; old >= 2; --old) {
    if (library.find(fmt::format("ncclNetPlugin_v{}", old).c_str()) != nullptr) {
      return Fail(ErrorCode::kInvalid,
                  fmt::format("the plugin stops at ncclNetPlugin_v{}; v{} (NCCL 2.20) to v{} are "
                              "understood",
                              old, nccl::kOldest, nccl::kNewest),
                  library.path());
    }
  }
  return Fail(ErrorCode::kInvalid,
              fmt::format("the library is no transport: it has neither farspan_transport_plugin "
                          "(transports/abi/farspan_transport.h) nor ncclNetPlugin_v{} to v{}",
                          nccl::kOldest, nccl::kNewest),
              library.path());
}

}  // namespace farspan::doors
