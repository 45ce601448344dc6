// farspan-probe: the lab's own measuring program. Results are JSON on standard output; "ready" on
// standard error says that a receiver or reflector listens.
#include <boost/program_options.hpp>
#include <iostream>

#include "tests/lab/probe/modes.h"
#include "tests/lab/probe/packet.h"
#include "tests/lab/probe/socket.h"

namespace farspan::probe {
namespace {

namespace po = boost::program_options;

constexpr const char* kUsage =
    "Usage: farspan-probe send|receive|reflect|rtt [OPTIONS]\n"
    "  send     numbered, time-stamped UDP datagrams at a steady rate\n"
    "  receive  reports loss, order, one-way delay, rate, ECN, corruption\n"
    "  reflect  sends back what comes, for rtt\n"
    "  rtt      round trips through a reflector\n";

struct Options {
  std::string mode;
  std::string to;
  std::string trace;
  uint16_t port = 5600;
  uint64_t count = 1000;
  uint32_t size = 1000;
  uint32_t batch = 1;
  unsigned tos = 0;
  double pps = 1000;
  double seconds = 60;
  double idle = 1;
};

po::options_description Describe(Options& o) {
  po::options_description all("Options");
  auto add = all.add_options();
  add("help", "this text");
  add("mode", po::value(&o.mode), "send, receive, reflect or rtt (also as the first word)");
  add("to", po::value(&o.to), "send, rtt: IPv4 address");
  add("port", po::value(&o.port)->default_value(o.port), "UDP port");
  add("count", po::value(&o.count)->default_value(o.count),
      "send, rtt: packets; receive: as many as memory is taken for at the start");
  add("size", po::value(&o.size)->default_value(o.size), "send, rtt: UDP payload in bytes");
  add("pps", po::value(&o.pps)->default_value(o.pps), "send, rtt: packets per second");
  add("batch", po::value(&o.batch)->default_value(o.batch), "send: at most so many per call");
  add("tos", po::value(&o.tos)->default_value(o.tos), "send: DSCP and ECN, 0-255");
  add("idle", po::value(&o.idle)->default_value(o.idle),
      "receive: ends so many seconds after the last packet; rtt: waits so long");
  add("seconds", po::value(&o.seconds)->default_value(o.seconds), "ends at the latest then");
  add("trace", po::value(&o.trace), "send, receive: write one CSV line per packet to this file");
  return all;
}

nlohmann::json Run(const Options& o) {
  const auto count32 = static_cast<uint32_t>(o.count);
  if (o.mode == "send") {
    return Send({o.to, o.port, o.pps, o.count, o.size, o.batch, static_cast<uint8_t>(o.tos),
                 o.seconds, o.trace});
  }
  if (o.mode == "receive") {
    return Receive({.port = o.port,
                    .idle_s = o.idle,
                    .seconds_max = o.seconds,
                    .expected = o.count,
                    .trace = o.trace});
  }
  if (o.mode == "reflect") return Reflect(o.port, o.seconds);
  return MeasureRtt({o.to, o.port, count32, 1 / o.pps, o.size, o.idle});
}

// Nothing if the options make sense, else what is wrong.
std::string Complaint(const Options& o) {
  const bool sends = o.mode == "send" || o.mode == "rtt";
  if (!sends && o.mode != "receive" && o.mode != "reflect") return "no mode '" + o.mode + "'";
  if (sends && o.to.empty()) return "--to is missing";
  if (o.size < kPacketBytesMin || o.size > kPacketBytesMax) return "--size must be in 48-65507";
  if (!(o.pps > 0) || !(o.seconds > 0) || !(o.idle > 0)) {
    return "--pps, --seconds and --idle must be above 0";
  }
  if (o.batch < 1 || o.batch > 1024) return "--batch must be in 1-1024";
  if (o.tos > 255) return "--tos must be in 0-255";
  return {};
}

int Main(int argc, char** argv) {
  Options options;
  const po::options_description described = Describe(options);
  po::positional_options_description first;
  first.add("mode", 1);
  po::variables_map values;
  try {
    po::store(po::command_line_parser(argc, argv).options(described).positional(first).run(),
              values);
    po::notify(values);
  } catch (const po::error& error) {
    std::cerr << "farspan-probe: " << error.what() << "\n" << kUsage;
    return 2;
  }
  if (values.count("help") != 0) {
    std::cout << kUsage << described;
    return 0;
  }
  if (const std::string complaint = Complaint(options); !complaint.empty()) {
    std::cerr << "farspan-probe: " << complaint << "\n" << kUsage;
    return 2;
  }
  CatchSignals();
  std::cout << Run(options).dump() << "\n";
  return 0;
}

}  // namespace
}  // namespace farspan::probe

int main(int argc, char** argv) { return farspan::probe::Main(argc, argv); }
