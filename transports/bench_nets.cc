#include "transports/bench_nets.h"

#include <fmt/core.h>
#include <sys/random.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <type_traits>

#include "emulator/base/units.h"
#include "transports/baselines/tcp_transport.h"
#include "transports/congestion/controllers.h"
#include "transports/doors/open_library.h"
#include "transports/doors/policy_library.h"
#include "transports/drivers/qlog/qlog_endpoint.h"
#include "transports/drivers/udp/udp_transport.h"
#include "transports/net_options.h"
#include "transports/testbed/endpoints.h"
#include "transports/testbed/presets.h"
#include "transports/testbed/sim_group.h"
#include "transports/verbs_net.h"

namespace farspan {
namespace {

namespace po = boost::program_options;
using transport::SpanConfig;

constexpr uint32_t kUdpPayload = 1408;  // fits an Ethernet frame

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

Result<uint64_t> ReadSize(const po::variables_map& values, const char* name) {
  auto bytes = ParseSize(Text(values, name));
  if (!bytes) return Fail(ErrorCode::kInvalid, bytes.error().message, fmt::format("--{}", name));
  return bytes;
}

// Of the house, then of a library.
Result<void> LoadPolicies(const po::variables_map& values) {
  transport::RegisterControllers();
  const std::string policy = Text(values, "policy");
  if (policy.empty()) return {};
  auto loaded = doors::LoadPolicies(policy);
  if (!loaded) return tl::unexpected(loaded.error());
  return {};
}

// Span in real time; 0 bytes of payload where none were asked for.
Result<SpanConfig> ReadSpan(const po::variables_map& values, TimeNs timeout) {
  if (auto loaded = LoadPolicies(values); !loaded) return tl::unexpected(loaded.error());
  SpanConfig config;
  config.recovery = Text(values, "recovery");
  if (const std::string congestion = Text(values, "congestion"); congestion.empty()) {
    config.congestion = "bbr";
  } else {
    config.congestion = congestion;
  }
  config.payload_bytes = values["payload"].as<uint32_t>();
  const auto rate = Read(values, "rate", ParseRate);
  if (!rate) return tl::unexpected(rate.error());
  if (getrandom(&config.seed, sizeof config.seed, 0) != sizeof config.seed) {
    return Fail(ErrorCode::kMachine, "the system gives no random numbers");
  }
  config.controller.rate = *rate;
  config.controller.seed = config.seed;
  config.timeout = timeout;
  return config;
}

transport::Properties SpanProperties(const SpanConfig& config) {
  return {"span",
          transport::MaxMessageBytes(config.payload_bytes),
          config.max_requests,
          config.controller.rate.bits_per_s,
          {}};
}

Result<std::unique_ptr<transport::Transport>> OpenTcp(const po::variables_map& values,
                                                      const SocketAddress& local, TimeNs timeout) {
  baselines::TcpConfig config;
  config.local = local;
  config.congestion = Text(values, "tcp-congestion");
  config.timeout = timeout;
  const auto nccl = ReadNccl(values);
  if (!nccl) return tl::unexpected(nccl.error());
  config.sockets = nccl->tcp.sockets;
  // Where nothing was asked for, or 0, the kernel grows them.
  const bool given = cli::Given(values, "tcp-buffer");
  if (given ? *ReadSize(values, "tcp-buffer") != 0 : Text(values, "preset") == "tuned") {
    config.send_buffer_bytes = nccl->tcp.send_buffer_bytes;
    config.receive_buffer_bytes = nccl->tcp.receive_buffer_bytes;
  }
  auto opened = baselines::TcpTransport::Open(config);
  if (!opened) return tl::unexpected(opened.error());
  return std::unique_ptr<transport::Transport>(std::move(*opened));
}

Result<std::unique_ptr<transport::Transport>> OpenSpan(const po::variables_map& values,
                                                       const SocketAddress& local, TimeNs timeout) {
  auto config = ReadSpan(values, timeout);
  if (!config) return tl::unexpected(config.error());
  if (config->payload_bytes == 0) config->payload_bytes = kUdpPayload;
  config->granularity = udp::UdpTransport::kGranularity;
  auto span = transport::MakeSpan(*config, Text(values, "qlog"), fmt::format("span-{}", getpid()));
  if (!span) return tl::unexpected(span.error());
  udp::UdpConfig udp;
  udp.local = {local};
  auto opened = udp::UdpTransport::Open(udp, std::move(*span), SpanProperties(*config));
  if (!opened) return tl::unexpected(opened.error());
  return std::unique_ptr<transport::Transport>(std::move(*opened));
}

Result<std::unique_ptr<transport::Transport>> OpenVerbs(const po::variables_map& values,
                                                        const SocketAddress& local,
                                                        TimeNs timeout) {
  verbs::PortChoice choice;
  choice.device = Text(values, "verbs-device");
  if (values.count("gid-index") > 0) choice.gid_index = values["gid-index"].as<uint32_t>();
  choice.local = local;
  if (Text(values, "transport") == "rc") {
    const auto nccl = ReadNccl(values);
    if (!nccl) return tl::unexpected(nccl.error());
    return OpenRcOverVerbs(choice, local, nccl->rc, timeout);
  }
  auto config = ReadSpan(values, timeout);
  if (!config) return tl::unexpected(config.error());
  return OpenSpanOverVerbs(choice, *config, Text(values, "qlog"));
}

Result<std::unique_ptr<transport::Transport>> OpenDoor(const po::variables_map& values,
                                                       const SocketAddress& local, TimeNs timeout) {
  auto opened = doors::OpenLibrary(
      Text(values, "transport"),
      {HostOf(local), Text(values, "transport-options"), timeout, cli::Given(values, "local")});
  if (!opened) return tl::unexpected(opened.error());
  return std::move(opened->transport);
}

Result<testbed::EndpointSpec> ReadEndpoint(const po::variables_map& values, bool lengths_only) {
  const auto rate = Read(values, "rate", ParseRate);
  if (!rate) return tl::unexpected(rate.error());
  const auto nccl = ReadNccl(values);
  if (!nccl) return tl::unexpected(nccl.error());
  if (auto loaded = LoadPolicies(values); !loaded) return tl::unexpected(loaded.error());
  testbed::EndpointSpec spec;
  if (!Text(values, "transport").empty()) spec.transport = Text(values, "transport");
  spec.recovery = Text(values, "recovery");
  spec.congestion = Text(values, "congestion");
  spec.payload_bytes = values["payload"].as<uint32_t>();
  spec.rate = *rate;
  spec.lengths_only = lengths_only;
  spec.qlog = Text(values, "qlog");
  spec.seed = values["seed"].as<uint64_t>();
  spec.rc = nccl->rc;
  spec.tcp = nccl->tcp;
  return spec;
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
  const std::string transport = Text(values, "transport");
  const bool real = transport == "rc" ? net == "verbs" : transport == (net == "tcp" ? net : "span");
  if (!transport.empty() && !real) {
    return Fail(ErrorCode::kInvalid,
                "'" + transport + "' does not run over " + net +
                    ": models take --net sim, rc takes --net verbs",
                "--transport");
  }
  if (net == "tcp") return OpenTcp(values, local, timeout);
  if (net == "udp") return OpenSpan(values, local, timeout);
  if (net == "verbs") return OpenVerbs(values, local, timeout);
  return Fail(ErrorCode::kInvalid, "'" + net + "' is no net; there are tcp, udp, verbs, sim",
              "--net");
}

Result<testbed::NcclPreset> ReadNccl(const po::variables_map& values) {
  testbed::NcclPreset preset;
  const std::string name = Text(values, "preset");
  preset.channels = 1;
  if (!name.empty()) {
    const auto rate = Read(values, "rate", ParseRate);
    const auto rtt = Read(values, "rtt", ParseTime);
    if (!rate) return tl::unexpected(rate.error());
    if (!rtt) return tl::unexpected(rtt.error());
    const auto found = testbed::FindPreset(name, *rate, *rtt);
    if (!found) return Fail(ErrorCode::kInvalid, found.error().message, "--preset");
    preset = *found;
  }
  const auto given = [&](const char* option) { return cli::Given(values, option); };
  const auto take = [&](const char* option, auto& target) {
    if (given(option)) {
      target = static_cast<std::decay_t<decltype(target)>>(values[option].as<uint32_t>());
    }
  };
  take("channels", preset.channels);
  take("sockets", preset.tcp.sockets);
  take("qps", preset.rc.queue_pairs);
  take("qp-split", preset.rc.split);
  take("ib-timeout", preset.rc.timeout);
  take("ib-retries", preset.rc.retry_count);
  take("adaptive-retrans", preset.rc.adaptive);
  const auto buffsize = ReadSize(values, "buffsize");
  const auto buffer = ReadSize(values, "tcp-buffer");
  if (!buffsize) return tl::unexpected(buffsize.error());
  if (!buffer) return tl::unexpected(buffer.error());
  if (given("buffsize")) preset.buffsize = *buffsize;
  if (given("tcp-buffer")) {
    const baselines::TcpModelConfig greatest;
    preset.tcp.send_buffer_bytes = *buffer != 0 ? *buffer : greatest.send_buffer_bytes;
    preset.tcp.receive_buffer_bytes = *buffer != 0 ? *buffer : greatest.receive_buffer_bytes;
  }
  return preset;
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
  const auto spec = ReadEndpoint(values, options.lengths_only);
  if (!spec) return tl::unexpected(spec.error());
  const auto queue_bytes = static_cast<uint64_t>(
      std::ceil(static_cast<double>(rate->bits_per_s) / 8 * ToSeconds(*queue)));
  constexpr TimeNs kInSite{5'000};

  testbed::SimTopology topology;
  topology.ranks = options.shape.ranks;
  topology.ranks_per_site = options.shape.ranks_per_site;
  topology.seed = spec->seed;
  topology.wan = Wire(*rate, TimeNs{rtt->ns / 2}, *loss, queue_bytes);
  topology.wan_capacity =
      CapacityOf(*rate, TimeNs{rtt->ns / 2}, queue_bytes, spec->payload_or_usual());
  topology.site = Wire({}, kInSite, 0, 0);
  // Trains of half a per cent of the round trip, 2 us at most: as fast as it gets, and not seen.
  topology.granularity = TimeNs{std::min<int64_t>(2'000, rtt->ns / 200)};
  const auto make = [&](uint32_t rank) { return testbed::MakeEndpoint(*spec, rank); };
  auto group = testbed::SimGroup::Create(topology, make, testbed::PropertiesOf(*spec));
  if (!group) return tl::unexpected(group.error());
  return std::unique_ptr<testbed::Group>(std::move(*group));
}

}  // namespace farspan
