// farspan nccl: what NCCL can have in flight across a link, and what to set.
#include <fmt/core.h>

#include <algorithm>
#include <string>
#include <vector>

#include "emulator/config/loader.h"
#include "emulator/config/plan.h"
#include "emulator/config/routes.h"
#include "transports/commands.h"
#include "transports/nccl_window.h"

namespace farspan {
namespace {

namespace po = boost::program_options;

constexpr std::string_view kUsage =
    "Usage: farspan nccl --rtt 25ms --rate 400Gbps [OPTIONS]\n"
    "       farspan nccl FROM TO --rate 400Gbps [OPTIONS]\n"
    "       farspan nccl --config FILE --link NAME [--rate 400Gbps] [OPTIONS]\n\n"
    "The window law of NCCL on a long link: what a channel carries, NCCL_BUFFSIZE, socket "
    "buffers,\n"
    "QP timeouts. FROM and TO are places of the route library.\n\n";

template <typename T>
Result<void> Read(const po::variables_map& values, const char* key,
                  Result<T> (*parse)(std::string_view), T& out) {
  if (values.count(key) == 0) return {};
  const Result<T> value = parse(values[key].as<std::string>());
  if (!value) return Fail(ErrorCode::kInvalid, value.error().message, std::string("--") + key);
  out = *value;
  return {};
}

Result<void> FromConfig(const po::variables_map& values, nccl::Question& question) {
  const auto config = config::LoadFile(values["config"].as<std::string>(), {});
  if (!config) return tl::unexpected(config.error());
  const std::string name =
      values.count("link") != 0 ? values["link"].as<std::string>() : config->links[0].name;
  const config::Plan plan = config::MakePlan(*config);
  const auto at = std::find_if(plan.directions.begin(), plan.directions.end(),
                               [&](const auto& d) { return d.link == name; });
  if (at == plan.directions.end()) {
    return Fail(ErrorCode::kNotFound, "there is no link \"" + name + '"', "--link");
  }
  question.rtt = at->round_trip;
  question.rate = at->rate;
  return {};
}

Result<void> FromRoute(const std::vector<std::string>& places, nccl::Question& question) {
  if (places.size() != 2) return Fail(ErrorCode::kInvalid, "a route needs two places", "nccl");
  const auto route = config::FindRoute(places[0], places[1]);
  if (!route) return tl::unexpected(route.error());
  question.rtt = route->one_way + route->one_way;
  return {};
}

Result<nccl::Question> ReadQuestion(const po::variables_map& values) {
  nccl::Question question;
  const bool config = values.count("config") != 0;
  const bool route = values.count("place") != 0;
  if (config + route + (values.count("rtt") != 0) != 1) {
    return Fail(ErrorCode::kInvalid,
                "expected one of --rtt, two places, or --config FILE; see --help", "nccl");
  }
  if (config) {
    if (auto read = FromConfig(values, question); !read) return tl::unexpected(read.error());
  } else if (route) {
    const auto places = values["place"].as<std::vector<std::string>>();
    if (auto read = FromRoute(places, question); !read) return tl::unexpected(read.error());
  }
  for (const Result<void>& read : {Read(values, "rtt", ParseTime, question.rtt),
                                   Read(values, "rate", ParseRate, question.rate),
                                   Read(values, "buffsize", ParseBytes, question.buffsize)}) {
    if (!read) return tl::unexpected(read.error());
  }
  question.channels = values["channels"].as<uint32_t>();
  question.ranks = values["ranks"].as<uint32_t>();
  question.mtu = values["mtu"].as<uint32_t>();
  question.sockets = values["sockets"].as<uint32_t>();
  if (question.rate.bits_per_s == 0) {
    return Fail(ErrorCode::kInvalid, "needs the rate to fill, such as --rate 400Gbps", "nccl");
  }
  if (question.rtt.ns <= 0 || question.channels == 0 || question.buffsize == 0 ||
      question.ranks < 2 || question.mtu == 0 || question.sockets == 0) {
    return Fail(ErrorCode::kInvalid,
                "round trip, channels, buffsize, mtu and sockets are more "
                "than 0, ranks at least 2",
                "nccl");
  }
  return question;
}

}  // namespace

int CmdNccl(const std::vector<std::string>& args) {
  const auto text = [] { return po::value<std::string>(); };
  const auto count = [](uint32_t value) { return po::value<uint32_t>()->default_value(value); };
  cli::Options options;
  options.usage = kUsage;
  auto add = options.visible.add_options();
  add("rtt", text(), "round trip, as in 25ms");
  add("rate", text(), "to fill, as in 400Gbps");
  add("config,c", text(), "TOML file of an emulator");
  add("link", text(), "of that file; the first one if not given");
  add("channels", count(16), "NCCL's channels across the link");
  add("buffsize", text(), "NCCL_BUFFSIZE, as in 4MiB");
  add("ranks", count(2), "of a ring over the two sites");
  add("mtu", count(4096), "RoCE's");
  add("sockets", count(1), "per channel, of NCCL's socket transport");
  add("json", "machine output, schema farspan.nccl.v1");
  options.hidden.add_options()("place", po::value<std::vector<std::string>>());
  options.positional.add("place", -1);
  options.rules = {cli::Needs("link", "config", "needs --config FILE that has the link")};
  bool help = false;
  const auto values = cli::Parse(options, args, help);
  if (!values) return cli::Report(values.error());
  if (help) return cli::kExitGood;
  const auto question = ReadQuestion(*values);
  if (!question) return cli::Report(question.error());
  const nccl::Answer answer = nccl::Ask(*question);
  const bool json = values->count("json") != 0;
  fmt::print("{}", json ? ToJson(*question, answer) : ToText(*question, answer));
  return cli::kExitGood;
}

}  // namespace farspan
