#include "emulator/dpdk/eal.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <rte_config.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_lcore.h>
#include <rte_log.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <initializer_list>
#include <string_view>

#include "emulator/base/check.h"
#include "emulator/dpdk/packet_fanout.h"

namespace farspan::dpdk {
namespace {

bool Mentions(const std::vector<std::string>& arguments,
              std::initializer_list<std::string_view> options) {
  return std::any_of(arguments.begin(), arguments.end(), [&](std::string_view argument) {
    return std::any_of(options.begin(), options.end(), [&](std::string_view option) {
      const bool is_long = option.starts_with("--");
      return argument == option || (is_long && argument.starts_with(std::string(option) + "=")) ||
             (!is_long && argument.starts_with(option));
    });
  });
}

std::string LcoreMap(const EalOptions& options) {
  std::string map = fmt::format("0@({})", fmt::join(options.cpus, ","));
  for (size_t i = 0; i < options.polling_cpus.size(); ++i) {
    map += fmt::format(",{}@{}", i + 1, options.polling_cpus[i]);
  }
  return map;
}

spdlog::level::level_enum ToSpdlog(int level) {
  if (level <= 0) return spdlog::level::info;  // outside a message of DPDK's
  if (level <= static_cast<int>(RTE_LOG_ERR)) return spdlog::level::err;
  if (level == static_cast<int>(RTE_LOG_WARNING)) return spdlog::level::warn;
  // EAL's notices and infos tell of every detail of a good start.
  return spdlog::level::debug;
}

// rte_vlog flushes after each message, so a write is one message and its level is current.
ssize_t WriteLog(void*, const char* text, size_t size) {
  std::string_view message(text, size);
  while (!message.empty() && message.back() == '\n') message.remove_suffix(1);
  if (!message.empty()) spdlog::log(ToSpdlog(rte_log_cur_msg_loglevel()), "dpdk: {}", message);
  return static_cast<ssize_t>(size);
}

void SendLogsToSpdlog() {
  cookie_io_functions_t functions{};
  functions.write = WriteLog;
  // Lives as long as the process: EAL logs until its end.
  static FILE* stream = fopencookie(nullptr, "w", functions);
  if (stream != nullptr) rte_openlog_stream(stream);
}

}  // namespace

std::vector<std::string> EalArguments(const EalOptions& options) {
  const std::vector<std::string>& user = options.user_arguments;
  std::vector<std::string> arguments{options.program, "--no-telemetry"};
  if (!Mentions(user, {"-l", "-c", "--lcores"})) {
    arguments.push_back("--lcores=" + LcoreMap(options));
  }
  if (!Mentions(user, {"--in-memory", "--no-huge", "--huge-dir", "--legacy-mem", "-m",
                       "--socket-mem", "--file-prefix"})) {
    if (options.memory.hugepages) {
      arguments.emplace_back("--in-memory");
    } else {
      const uint64_t mib = (options.memory.plan.eal_bytes + (1 << 20) - 1) >> 20;
      arguments.insert(arguments.end(), {"--no-huge", "--no-shconf", "-m", std::to_string(mib)});
    }
  }
  if (!Mentions(user, {"-a", "--allow", "-b", "--block", "--no-pci"})) {
    if (options.pci_devices.empty()) arguments.emplace_back("--no-pci");
    for (const std::string& device : options.pci_devices) {
      arguments.insert(arguments.end(), {"-a", device});
    }
  }
  arguments.insert(arguments.end(), user.begin(), user.end());
  return arguments;
}

PollingCpus ChoosePollingCpus(const std::vector<int>& allowed, size_t wanted) {
  FARSPAN_CHECK(!allowed.empty());
  PollingCpus chosen;
  const size_t spare = allowed.size() > wanted ? 1 : 0;
  for (size_t i = 0; i < wanted; ++i) {
    chosen.cpus.push_back(allowed[(i + spare) % allowed.size()]);
  }
  chosen.shared = spare == 0;
  return chosen;
}

Result<std::unique_ptr<Eal>> Eal::Start(const EalOptions& options) {
  SendLogsToSpdlog();
  KeepFragments();
  std::vector<std::string> arguments = EalArguments(options);
  spdlog::debug("EAL arguments: {}", fmt::join(arguments, " "));
  std::vector<char*> argv;
  argv.reserve(arguments.size());
  for (std::string& argument : arguments) argv.push_back(argument.data());
  if (rte_eal_init(static_cast<int>(argv.size()), argv.data()) < 0) {
    return Fail(ErrorCode::kMachine,
                fmt::format("DPDK's EAL did not start: {} (arguments: {}); its own messages above "
                            "say more, -- --log-level=8 adds detail",
                            rte_strerror(rte_errno), fmt::join(arguments, " ")));
  }
  std::unique_ptr<Eal> eal(new Eal);
  unsigned lcore = 0;
  RTE_LCORE_FOREACH_WORKER(lcore) { eal->polling_lcores_.push_back(lcore); }
  if (eal->polling_lcores_.empty()) {
    return Fail(ErrorCode::kInvalid,
                "the EAL arguments leave no lcore for polling: name at least two, the first is "
                "for control (for instance --lcores 0@0-1,1@1)");
  }
  return eal;
}

Eal::~Eal() { rte_eal_cleanup(); }

void MempoolDeleter::operator()(rte_mempool* pool) const { rte_mempool_free(pool); }

Result<Mempool> MakePacketPool(const std::string& name, uint32_t mbufs, uint32_t data_room_bytes,
                               uint32_t cache_mbufs, int node) {
  // Without hugepages IOVA is VA, and objects may cross pages; told otherwise, DPDK would give
  // every mbuf pages of its own.
  const unsigned flags = rte_eal_has_hugepages() ? 0 : RTE_MEMPOOL_F_NO_IOVA_CONTIG;
  const auto failed = [&] {
    return Fail(ErrorCode::kMachine,
                fmt::format("cannot make a pool of {} mbufs with {} B of data each: {}", mbufs,
                            data_room_bytes, rte_strerror(rte_errno)),
                "memory");
  };
  rte_pktmbuf_pool_private sizes{};
  sizes.mbuf_data_room_size = static_cast<uint16_t>(data_room_bytes);
  FARSPAN_CHECK(sizes.mbuf_data_room_size == data_room_bytes);
  Mempool pool(rte_mempool_create_empty(name.c_str(), mbufs, sizeof(rte_mbuf) + data_room_bytes,
                                        cache_mbufs, sizeof(sizes), node, flags));
  if (pool == nullptr) return failed();
  if (const int error = rte_mempool_set_ops_byname(pool.get(), "stack", nullptr); error != 0) {
    rte_errno = -error;
    return failed();
  }
  rte_pktmbuf_pool_init(pool.get(), &sizes);
  if (const int error = rte_mempool_populate_default(pool.get()); error < 0) {
    rte_errno = -error;
    return failed();
  }
  rte_mempool_obj_iter(pool.get(), rte_pktmbuf_init, nullptr);
  return pool;
}

}  // namespace farspan::dpdk
