#include "transports/bench_nets.h"

#include <fmt/core.h>
#include <sys/random.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "emulator/base/units.h"
#include "transports/baselines/tcp_transport.h"
#include "transports/congestion/controllers.h"
#include "transports/core/span.h"
#include "transports/doors/open_library.h"
#include "transports/doors/policy_library.h"
#include "transports/drivers/udp/udp_transport.h"
#include "transports/testbed/sim_group.h"

namespace farspan {
namespace {

namespace po = boost::program_options;
using transport::SpanConfig;

std::string Text(const po::variables_map& values, const char* name) {
  return values[name].as<std::string>();
}

template <typename T>
Result<T> Read(const po::variables_map& values, const char* name,
               Result<T> (*parse)(std::string_view)) {
  auto value = parse(Text(values, name));
  if (!value) return Fail(ErrorCode::kInvalid, value.error().message, fmt::format("--{}", name));
  return value;
}

Result<SpanConfig> ReadSpan(const po::variables_map& values, uint64_t seed, TimeNs timeout) {
  transport::RegisterControllers();
  if (const std::string policy = Text(values, "policy"); !policy.empty()) {
    if (auto loaded = doors::LoadPolicies(policy); !loaded) return tl::unexpected(loaded.error());
  }
  SpanConfig config;
  config.recovery = Text(values, "recovery");
  config.congestion = Text(values, "congestion");
  config.payload_bytes = values["payload"].as<uint32_t>();
  const auto rate = Read(values, "rate", ParseRate);
  if (!rate) return tl::unexpected(rate.error());
  config.controller.rate = *rate;
  config.controller.seed = seed;
  config.seed = seed;
  config.timeout = timeout;
  return config;
}

transport::Properties SpanProperties(const SpanConfig& config) {
  return {"span", uint64_t{1} << 40, config.max_requests, config.controller.rate.bits_per_s, {}};
}

Result<std::unique_ptr<transport::Transport>> OpenTcp(const po::variables_map& values,
                                                      const SocketAddress& local, TimeNs timeout) {
  baselines::TcpConfig config;
  config.local = local;
  config.sockets = values["sockets"].as<uint32_t>();
  config.congestion = Text(values, "tcp-congestion");
  config.timeout = timeout;
  const auto buffer = ParseSize(Text(values, "tcp-buffer"));
  if (!buffer) return tl::unexpected(buffer.error());
  config.send_buffer_bytes = config.receive_buffer_bytes = *buffer;
  auto opened = baselines::TcpTransport::Open(config);
  if (!opened) return tl::unexpected(opened.error());
  return std::unique_ptr<transport::Transport>(std::move(*opened));
}

Result<std::unique_ptr<transport::Transport>> OpenSpan(const po::variables_map& values,
                                                       const SocketAddress& local, TimeNs timeout) {
  uint64_t seed = 0;
  if (getrandom(&seed, sizeof seed, 0) != sizeof seed) {
    return Fail(ErrorCode::kMachine, "the system gives no random numbers");
  }
  const auto config = ReadSpan(values, seed, timeout);
  if (!config) return tl::unexpected(config.error());
  auto span = transport::Span::Create(*config);
  if (!span) return tl::unexpected(span.error());
  udp::UdpConfig udp;
  udp.local = {local};
  auto opened = udp::UdpTransport::Open(udp, std::move(*span), SpanProperties(*config));
  if (!opened) return tl::unexpected(opened.error());
  return std::unique_ptr<transport::Transport>(std::move(*opened));
}

bool IsLibrary(const po::variables_map& values) { return !Text(values, "transport").empty(); }

Result<std::unique_ptr<transport::Transport>> OpenDoor(const po::variables_map& values,
                                                       const SocketAddress& local, TimeNs timeout) {
  if (!values["net"].defaulted()) {
    return Fail(ErrorCode::kInvalid, "a library takes the place of --net", "--transport");
  }
  auto opened = doors::OpenLibrary(Text(values, "transport"),
                                   {HostOf(local), Text(values, "transport-options"), timeout});
  if (!opened) return tl::unexpected(opened.error());
  return std::move(opened->transport);
}

link::DirectionSpec Wire(Rate rate, TimeNs delay, double loss, uint64_t queue_bytes) {
  link::DirectionSpec spec;
  spec.lanes[0].rate = rate;
  spec.lanes[0].path.delay = delay;
  spec.bottleneck.classes[0].limit.bytes = queue_bytes;
  if (loss > 0) {
    spec.lanes[0].loss.kind = link::LossKind::kBernoulli;
    spec.lanes[0].loss.probability = loss;
  }
  return spec;
}

// Datagrams that a wire and its queue can hold.
link::LinkCapacity CapacityOf(Rate rate, TimeNs delay, uint64_t queue_bytes,
                              uint32_t payload_bytes) {
  const double bytes = static_cast<double>(rate.bits_per_s) / 8 * ToSeconds(delay) +
                       static_cast<double>(queue_bytes);
  return {static_cast<uint64_t>(bytes / payload_bytes * 1.1) + 100'000};
}

}  // namespace

void AddNetOptions(cli::Options& options) {
  const auto text = [](const char* value) {
    return po::value<std::string>()->default_value(value);
  };
  auto add = options.visible.add_options();
  add("net", text("tcp"), "tcp (kernel TCP), udp (Span) or sim (Span in virtual time)");
  add("transport", text(""), "a library in place of --net: ./libmine.so (see farspan conform)");
  add("transport-options", text(""),
      "what the library is told; of an NCCL plugin device=N,version=V");
  add("sockets", po::value<uint32_t>()->default_value(1), "tcp: connections per lane");
  add("tcp-congestion", text(""), "tcp: cubic, bbr, … (default: the system's)");
  add("tcp-buffer", text("0"), "tcp: socket buffers; 0: the kernel grows them");
  add("recovery", text("auto"), "udp, sim: gbn, sr, ec or auto");
  add("congestion", text("bbr"), "udp, sim: fixed, cubic, bbr, swift or dcqcn");
  add("policy", text(""), "udp, sim: a library that adds names to these two: ./mine.so");
  add("payload", po::value<uint32_t>()->default_value(1408), "udp, sim: bytes of a datagram");
  add("rate", text("10 Gbps"), "udp: a ceiling (fixed: the rate); sim: of the WAN");
  add("rtt", text("25 ms"), "sim: between sites");
  add("loss", text("0"), "sim: of datagrams between sites, each way");
  add("queue", text("20 ms"), "sim: what the WAN's port holds, in time at its rate");
  add("seed", po::value<uint64_t>()->default_value(1), "sim: of the links' randomness");
}

Result<uint64_t> ParseSize(const std::string& text) {
  static constexpr std::string_view kSuffixes = "KMG";
  if (text.find_first_not_of("0123456789") == std::string::npos) return ParseBytes(text + " B");
  if (kSuffixes.find(text.back()) == std::string_view::npos) return ParseBytes(text);
  return ParseBytes(text.substr(0, text.size() - 1) + " " + text.back() + "iB");
}

Result<std::unique_ptr<transport::Transport>> OpenNet(const po::variables_map& values,
                                                      const SocketAddress& local, TimeNs timeout) {
  const std::string net = Text(values, "net");
  if (IsLibrary(values)) return OpenDoor(values, local, timeout);
  if (net == "tcp") return OpenTcp(values, local, timeout);
  if (net == "udp") return OpenSpan(values, local, timeout);
  return Fail(ErrorCode::kInvalid, "'" + net + "' is no net; there are tcp, udp, sim", "--net");
}

bool IsSim(const po::variables_map& values) {
  return !IsLibrary(values) && Text(values, "net") == "sim";
}

Result<std::unique_ptr<testbed::Group>> MakeSim(const po::variables_map& values,
                                                const testbed::BenchOptions& options) {
  const auto rate = Read(values, "rate", ParseRate);
  const auto rtt = Read(values, "rtt", ParseTime);
  const auto loss = Read(values, "loss", ParseProbability);
  const auto queue = Read(values, "queue", ParseTime);
  if (!rate) return tl::unexpected(rate.error());
  if (!rtt) return tl::unexpected(rtt.error());
  if (!loss) return tl::unexpected(loss.error());
  if (!queue) return tl::unexpected(queue.error());
  const uint64_t seed = values["seed"].as<uint64_t>();
  const uint32_t payload = values["payload"].as<uint32_t>();
  const auto queue_bytes = static_cast<uint64_t>(
      std::ceil(static_cast<double>(rate->bits_per_s) / 8 * ToSeconds(*queue)));
  constexpr TimeNs kInSite{5'000};

  testbed::SimTopology topology;
  topology.ranks = options.shape.ranks;
  topology.ranks_per_site = options.shape.ranks_per_site;
  topology.seed = seed;
  topology.wan = Wire(*rate, TimeNs{rtt->ns / 2}, *loss, queue_bytes);
  topology.wan_capacity = CapacityOf(*rate, TimeNs{rtt->ns / 2}, queue_bytes, payload);
  topology.site = Wire({}, kInSite, 0, 0);
  // Trains of half a per cent of the round trip, 2 us at most: as fast as it gets, and not seen.
  topology.granularity = TimeNs{std::min<int64_t>(2'000, rtt->ns / 200)};
  const auto make = [&](uint32_t rank) -> Result<std::unique_ptr<transport::Endpoint>> {
    auto config = ReadSpan(values, seed * 1000 + rank, TimeNs{10'000'000'000});
    if (!config) return tl::unexpected(config.error());
    config->lengths_only = options.lengths_only;
    auto span = transport::Span::Create(*config);
    if (!span) return tl::unexpected(span.error());
    return std::unique_ptr<transport::Endpoint>(std::move(*span));
  };
  const auto config = ReadSpan(values, seed, {});
  if (!config) return tl::unexpected(config.error());
  auto group = testbed::SimGroup::Create(topology, make, SpanProperties(*config));
  if (!group) return tl::unexpected(group.error());
  return std::unique_ptr<testbed::Group>(std::move(*group));
}

}  // namespace farspan
