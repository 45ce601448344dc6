#include "transports/net_options.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>

#include "transports/testbed/endpoints.h"

namespace farspan {
namespace {

namespace po = boost::program_options;

// What a rank may run on.
enum Mode : unsigned {
  kTcp = 1,
  kUdp = 2,
  kVerbsSpan = 4,
  kVerbsRc = 8,
  kSimSpan = 16,
  kSimRc = 32,
  kSimTcp = 64,
  kLibrary = 128,
};
constexpr unsigned kSpan = kUdp | kVerbsSpan | kSimSpan, kRc = kVerbsRc | kSimRc,
                   kVerbs = kVerbsSpan | kVerbsRc, kTcpAndModel = kTcp | kSimTcp,
                   kSim = kSimSpan | kSimRc | kSimTcp, kNets = kTcp | kUdp | kVerbs | kSim;

std::string Text(const po::variables_map& values, const char* name) {
  return values[name].as<std::string>();
}

// Where a net or a transport is unknown, all: that is said later.
unsigned ModeOf(const po::variables_map& values) {
  if (IsLibrary(values)) return kLibrary;
  const std::string net = Text(values, "net"), transport = Text(values, "transport");
  if (net == "tcp") return kTcp;
  if (net == "udp") return kUdp;
  if (net == "verbs") return transport == "rc" ? kVerbsRc : kVerbsSpan;
  if (net != "sim") return kNets;
  if (transport == "tcp") return kSimTcp;
  return transport.starts_with("rc") ? kSimRc : kSimSpan;
}

bool IsTuned(const po::variables_map& values) { return Text(values, "preset") == "tuned"; }

struct NetRule {
  const char* option;
  unsigned modes;  // where it does something
  const char* instead;
  bool (*too)(const po::variables_map&) = nullptr;  // it does elsewhere, where this holds
};

constexpr const char* kOfTcp =
    "it is TCP's (--net tcp, or --net sim --transport tcp); --channels and --buffsize are for any";
constexpr const char* kOfRc =
    "it is RC's (--net verbs --transport rc, or --net sim --transport rc-gbn or rc-sr)";
constexpr const char* kOfSpan = "it is Span's (--net udp, verbs or sim)";
constexpr const char* kOfVirtualTime =
    "it is of virtual time (--net sim); between real hosts farspan-emulator makes the link";
constexpr const char* kOfControllers =
    "it is of Span (--net udp, verbs or sim) and of the models (--net sim); --net tcp takes "
    "--tcp-congestion";
constexpr const char* kOfVerbs = "it is a port's (--net verbs); --local chooses other interfaces";

constexpr NetRule kRules[] = {
    {"net", kNets, "leave it out: the library takes its place"},
    {"transport-options", kLibrary, "a library is told them (--transport ./libmine.so)"},
    {"verbs-device", kVerbs, kOfVerbs},
    {"gid-index", kVerbs, kOfVerbs},
    {"sockets", kTcpAndModel, kOfTcp},
    {"tcp-congestion", kTcp, "it is the kernel's (--net tcp); others take --congestion"},
    {"tcp-buffer", kTcpAndModel, kOfTcp},
    {"qps", kRc, kOfRc},
    {"qp-split", kRc, kOfRc},
    {"ib-timeout", kRc, kOfRc},
    {"ib-retries", kRc, kOfRc},
    {"adaptive-retrans", kSimRc,
     "it is of RC's models (--net sim --transport rc-gbn or rc-sr); a NIC has its own switch: "
     "docs/hardware.md"},
    {"recovery", kSpan, kOfSpan},
    {"congestion", kSpan | kSim, kOfControllers},
    {"policy", kSpan | kSim, kOfControllers},
    {"qlog", kSpan, kOfSpan},
    {"payload", kSpan | kSim, "it is of Span (--net udp, verbs or sim) and of the models"},
    {"rate", kSpan | kSim,
     "it is of Span and of virtual time (--net udp, verbs or sim), or what --preset tuned fills",
     IsTuned},
    {"rtt", kSim,
     "it is of virtual time (--net sim), or what --preset tuned is for; between real hosts "
     "farspan-emulator makes the link",
     IsTuned},
    {"loss", kSim, kOfVirtualTime},
    {"queue", kSim, kOfVirtualTime},
    {"seed", kSim, kOfVirtualTime},
};

std::string NameOf(const po::variables_map& values) {
  if (IsLibrary(values)) return "a library as --transport";
  const std::string transport = Text(values, "transport");
  return "--net " + Text(values, "net") + (transport.empty() ? "" : " --transport " + transport);
}

void AddRules(cli::Options& options) {
  for (const NetRule& rule : kRules) {
    options.rules.push_back({rule.option, [&rule](const po::variables_map& values) -> std::string {
                               if ((ModeOf(values) & rule.modes) != 0) return {};
                               if (rule.too != nullptr && rule.too(values)) return {};
                               return fmt::format("does nothing with {}: {}", NameOf(values),
                                                  rule.instead);
                             }});
  }
  options.rules.push_back({"qp-split", [](const po::variables_map& values) -> std::string {
                             const bool one = values["qps"].as<uint32_t>() < 2 && !IsTuned(values);
                             if (values["qp-split"].as<uint32_t>() == 0 || !one) return {};
                             return "does nothing with one queue pair: give --qps 2 or more";
                           }});
  options.rules.push_back({"policy", [](const po::variables_map& values) -> std::string {
                             if (cli::Given(values, "recovery") || cli::Given(values, "congestion"))
                               return {};
                             return "does nothing unless --recovery or --congestion names what is "
                                    "in it";
                           }});
}

}  // namespace

void AddNetOptions(cli::Options& options) {
  const auto text = [](const char* value) {
    return po::value<std::string>()->default_value(value);
  };
  auto add = options.visible.add_options();
  const auto number = [](uint32_t value) { return po::value<uint32_t>()->default_value(value); };
  add("net", text("tcp"), "tcp (kernel TCP), udp (Span), verbs (RoCE) or sim (virtual time)");
  add("transport", text(""),
      "verbs: span or rc (NCCL's net_ib); sim: span, or a baseline's model: rc-gbn, rc-sr, tcp; or "
      "a library in place of --net: "
      "./libmine.so (see farspan conform)");
  add("transport-options", text(""),
      "what the library is told; of an NCCL plugin device=N,version=V");
  add("verbs-device", text(""), "verbs: mlx5_0 or mlx5_0:2 (default: that of the local address)");
  add("gid-index", po::value<uint32_t>(),
      "verbs: NCCL_IB_GID_INDEX (default: RoCEv2, the local address's)");
  add("preset", text(""),
      "default or tuned: channels, buffsize and what follows for --rate and --rtt, but for what is "
      "given");
  add("channels", number(1), "parallel rings (NCCL's channels)");
  add("buffsize", text("4M"), "of a lane, in 8 slots (NCCL_BUFFSIZE)");
  add("sockets", number(1), "tcp: connections per lane");
  add("tcp-congestion", text(""), "net tcp: cubic, bbr, … (default: the system's)");
  add("tcp-buffer", text("0"), "tcp: socket buffers; 0: the kernel grows them (sim: its greatest)");
  add("qps", number(1), "rc: queue pairs per lane (NCCL_IB_QPS_PER_CONNECTION)");
  add("qp-split", number(0), "rc: 1: a message over all of them (NCCL_IB_SPLIT_DATA_ON_QPS)");
  add("ib-timeout", number(20), "rc: NCCL_IB_TIMEOUT, 4.096 us x 2^n");
  add("ib-retries", number(7), "rc: NCCL_IB_RETRY_CNT");
  add("adaptive-retrans", number(1), "rc: the NIC's own, earlier timer");
  add("recovery", text("auto"), "span: gbn, sr, ec or auto");
  add("congestion", text(""),
      "udp, verbs, sim: fixed, cubic, bbr, swift or dcqcn (default: span bbr, rc fixed, tcp "
      "cubic)");
  add("policy", text(""), "udp, verbs, sim: a library that adds names to these two: ./mine.so");
  add("qlog", text(""), "span: a directory for what each rank did, as qlog (.sqlog)");
  add("payload", number(0),
      "udp, verbs, sim: bytes of a datagram (default: udp 1408, verbs what fits the path MTU, tcp "
      "1448, sim 4096)");
  add("rate", text("10 Gbps"), "udp, verbs: a ceiling (fixed: the rate); sim: of the WAN");
  add("rtt", text("25 ms"), "sim: between sites");
  add("loss", text("0"), "sim: of datagrams between sites, each way");
  add("queue", text("20 ms"), "sim: what the WAN's port holds, in time at its rate");
  add("seed", po::value<uint64_t>()->default_value(1), "sim: of the links' randomness");
  AddRules(options);
}

bool IsSim(const po::variables_map& values) { return Text(values, "net") == "sim"; }

bool IsLibrary(const po::variables_map& values) {
  const std::string transport = Text(values, "transport");
  const auto names = testbed::EndpointNames();
  return !transport.empty() && transport != "rc" &&
         std::find(names.begin(), names.end(), transport) == names.end();
}

}  // namespace farspan
