// farspan link …: asks and changes the links of a running emulator.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "emulator/base/nearest.h"
#include "emulator/base/units.h"
#include "emulator/control/address.h"
#include "emulator/control/metrics.h"
#include "transports/commands.h"
#include "transports/link_client.h"

namespace farspan {
namespace {

namespace po = boost::program_options;
using nlohmann::ordered_json;

constexpr std::string_view kUsage =
    "Usage: farspan link list                     every link, one line per direction\n"
    "       farspan link show NAME                all that is known of one link\n"
    "       farspan link set NAME KEY=VALUE...    change distance, delay, rtt, rate, loss, jitter\n"
    "       farspan link cut NAME                 cut the fiber\n"
    "       farspan link restore NAME             mend it\n"
    "       farspan link epoch                    start wire time and timeline at 0 on every link\n"
    "       farspan link qps [NAME]               the queue pairs that cross it\n"
    "       farspan link metrics                  the metrics that an emulator exports\n\n"
    "  farspan link set chi-nyc distance=\"700 km\" loss=1e-5\n"
    "  farspan link cut chi-nyc --for 50ms --position \"120 km\"\n\n"
    "Nothing in flight is lost or re-timed by `set`.\n\n";

using Rows = std::vector<std::vector<std::string>>;

// Columns two blanks apart; the first `left` of them to the left, the others to the right.
std::string Table(const Rows& rows, size_t left) {
  std::vector<size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string text;
  for (const auto& row : rows) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      line += i < left ? fmt::format("{:<{}}  ", row[i], widths[i])
                       : fmt::format("{:>{}}  ", row[i], widths[i]);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  }
  return text;
}

uint64_t Sum(const ordered_json& counts) {
  uint64_t sum = 0;
  for (const auto& [name, count] : counts.items()) sum += count.get<uint64_t>();
  return sum;
}

std::string Text(const ordered_json& value) {
  if (value.is_null()) return "none";
  return value.is_string() ? value.get<std::string>() : value.dump();
}

std::string ListText(const ordered_json& state) {
  Rows rows{{"LINK", "DIR", "FROM", "TO", "DELAY", "RATE", "LOSS", "FORWARDED", "EMULATED DROPS",
             "OWN DROPS", "HELD"}};
  for (const ordered_json& link : state.at("links")) {
    for (const ordered_json& d : link.at("directions")) {
      const ordered_json& lane = d.at("lanes").at(0);
      rows.push_back({Text(link.at("name")), Text(d.at("direction")), Text(d.at("from")),
                      Text(d.at("to")), Text(d.at("delay")), Text(lane.at("rate")),
                      Text(lane.at("loss")), Text(d.at("forwarded_packets")),
                      std::to_string(Sum(d.at("emulated_drops"))),
                      std::to_string(Sum(d.at("own_drops"))), Text(d.at("held_packets"))});
    }
  }
  std::string text = Table(rows, 4);
  text += fmt::format("\n{}, up {:.0f} s, clock error {:.2f} ppm\n",
                      state.at("valid").get<bool>() ? "VALID" : "INVALID",
                      state.at("uptime_ns").get<double>() * 1e-9,
                      state.at("clock_error_ppm").get<double>());
  for (const ordered_json& reason : state.at("reasons"))
    text += fmt::format("  {}\n", Text(reason));
  return text;
}

// One line per value: nested objects become "emulated_drops loss", lists "lanes 0 rate".
void Flatten(const std::string& name, const ordered_json& value, Rows& rows) {
  if (!value.is_structured()) {
    rows.push_back({name, Text(value)});
    return;
  }
  for (const auto& [key, inner] : value.items()) {
    Flatten(name.empty() ? key : fmt::format("{} {}", name, key), inner, rows);
  }
}

std::string ShowText(const ordered_json& link) {
  std::string text;
  for (const ordered_json& direction : link.at("directions")) {
    Rows rows;
    Flatten("", direction, rows);
    text += fmt::format("{} {}: {} to {}\n", Text(link.at("name")), Text(direction.at("direction")),
                        Text(direction.at("from")), Text(direction.at("to")));
    text += Table(rows, 2) + "\n";
  }
  text.pop_back();
  return text;
}

std::string QpText(const ordered_json& qp) {
  const ordered_json& source = qp.at("source_qp");
  return fmt::format("{}->{:#x}",
                     source.is_null() ? "?" : fmt::format("{:#x}", source.get<uint32_t>()),
                     qp.at("destination_qp").get<uint32_t>());
}

std::string RecoveryText(const ordered_json& recovery) {
  if (recovery.at("count") == 0) return "none";
  const auto text = [&](const char* key) {
    return ToText(TimeNs{recovery.at(key).get<int64_t>()});
  };
  return fmt::format("{} to {}", text("min_ns"), text("max_ns"));
}

std::string QueuePairsText(const ordered_json& answer) {
  Rows rows{{"LINK", "DIR", "SOURCE", "DESTINATION", "QP", "PACKETS", "GOODPUT", "MESSAGES",
             "RETRANSMITTED", "SPURIOUS", "LOST", "GAPS", "DUPLICATES", "NAKS", "CNPS", "CE",
             "RECOVERY"}};
  for (const ordered_json& link : answer.at("links")) {
    for (const ordered_json& qp : link.at("queue_pairs")) {
      const ordered_json& in = qp.at("ingress");
      const ordered_json& out = qp.at("egress");
      const ordered_json& acks = in.at("acknowledgements");
      const uint64_t lost =
          qp.at("dropped_packets").get<uint64_t>() + qp.at("corrupted_packets").get<uint64_t>();
      rows.push_back({Text(link.at("link")), Text(qp.at("direction")), Text(qp.at("source")),
                      Text(qp.at("destination")), QpText(qp), Text(in.at("packets")),
                      Text(out.at("goodput_bytes")), Text(out.at("messages")),
                      Text(in.at("repeated_packets")), Text(qp.at("spurious_retransmissions")),
                      std::to_string(lost), Text(out.at("gaps")), Text(out.at("repeated_packets")),
                      std::to_string(Sum(acks) - acks.at("ack").get<uint64_t>()),
                      Text(in.at("cnps")), Text(out.at("ce_packets")),
                      RecoveryText(qp.at("recovery"))});
    }
  }
  return Table(rows, 5);
}

std::string AppliedText(const ordered_json& answer) {
  std::string text;
  for (const ordered_json& applied : answer.at("applied")) {
    text += fmt::format("{}took effect at {}\n",
                        applied.contains("direction") ? Text(applied["direction"]) + " " : "",
                        ToText(TimeNs{applied.at("at_ns").get<int64_t>()}));
  }
  return text;
}

std::string CatalogueText() {
  Rows rows{{"METRIC", "TYPE", "LABELS", "WHAT"}};
  for (const control::MetricInfo& m : control::MetricCatalogue()) {
    rows.push_back({std::string(m.name), std::string(control::ToText(m.kind)),
                    std::string(m.labels), std::string(m.help)});
  }
  return Table(rows, 4);
}

struct Call {
  std::vector<std::string> words;  // after "link"
  po::variables_map values;

  bool has(const char* option) const { return values.count(option) != 0; }
  std::string text(const char* option) const {
    return has(option) ? values[option].as<std::string>() : "";
  }
};

tl::unexpected<Error> BadUsage(std::string message) {
  return Fail(ErrorCode::kInvalid, std::move(message) + "; see --help", "link");
}

// The options named, where they were given, and KEY=VALUE words from the third on.
Result<ordered_json> BodyOf(const Call& call, std::initializer_list<const char*> options) {
  ordered_json body = ordered_json::object();
  for (const char* option : options) {
    if (call.has(option)) body[option] = call.text(option);
  }
  for (size_t i = 2; i < call.words.size(); ++i) {
    const std::string& word = call.words[i];
    const size_t equals = word.find('=');
    if (equals == std::string::npos || equals == 0) {
      return BadUsage(fmt::format("\"{}\" is not KEY=VALUE", word));
    }
    const std::string key = word.substr(0, equals);
    if (body.contains(key)) return BadUsage(fmt::format("\"{}\" is given twice", key));
    body[key] = word.substr(equals + 1);
  }
  return body;
}

using Answer = Result<ordered_json>;

Answer List(LinkClient& client, const Call&) { return client.get("/api/v1/links"); }
Answer Show(LinkClient& client, const Call& call) { return client.get(LinkPath(call.words[1])); }
Answer Set(LinkClient& client, const Call& call) {
  const auto body = BodyOf(call, {"direction", "lane"});
  if (!body) return tl::unexpected(body.error());
  return client.send("PATCH", LinkPath(call.words[1]), *body);
}
Answer Cut(LinkClient& client, const Call& call) {
  const auto body = BodyOf(call, {"for", "position", "direction", "lane"});
  if (!body) return tl::unexpected(body.error());
  return client.send("POST", LinkPath(call.words[1]) + "/cut", *body);
}
Answer Restore(LinkClient& client, const Call& call) {
  const auto body = BodyOf(call, {"direction", "lane"});
  if (!body) return tl::unexpected(body.error());
  return client.send("POST", LinkPath(call.words[1]) + "/restore", *body);
}
Answer Epoch(LinkClient& client, const Call&) {
  return client.send("POST", "/api/v1/epoch", ordered_json::object());
}

Answer QueuePairs(LinkClient& client, const Call& call) {
  std::vector<std::string> names(call.words.begin() + 1, call.words.end());
  if (names.empty()) {
    const auto state = client.get("/api/v1/links");
    if (!state) return state;
    for (const ordered_json& link : state->value("links", ordered_json::array())) {
      names.push_back(link.value("name", ""));
    }
  }
  ordered_json links = ordered_json::array();
  for (const std::string& name : names) {
    auto answer = client.get(LinkPath(name) + "/queue_pairs");
    if (!answer) return answer;
    links.push_back(std::move(*answer));
  }
  return ordered_json{{"links", std::move(links)}};
}

struct Action {
  std::string_view name;
  size_t words_min;  // with the action's name
  size_t words_max;
  std::string_view options;  // those that mean something to it
  Answer (*ask)(LinkClient&, const Call&);
  std::string (*print)(const ordered_json&);
};

constexpr Action kActions[] = {
    {"list", 1, 1, "", List, ListText},
    {"show", 2, 2, "", Show, ShowText},
    {"set", 3, 64, "direction lane", Set, AppliedText},
    {"cut", 2, 2, "for position direction lane", Cut, AppliedText},
    {"restore", 2, 2, "direction lane", Restore, AppliedText},
    {"epoch", 1, 1, "", Epoch, AppliedText},
    {"qps", 1, 2, "", QueuePairs, QueuePairsText},
};

Result<const Action*> FindAction(const Call& call) {
  std::vector<std::string_view> known{"metrics"};
  const std::string name = call.words.empty() ? "" : call.words.front();
  for (const Action& action : kActions) {
    known.push_back(action.name);
    if (action.name != name) continue;
    if (call.words.size() < action.words_min) {
      return BadUsage(fmt::format("{} needs {}", name,
                                  action.words_min == 3 ? "NAME KEY=VALUE" : "the link's NAME"));
    }
    if (call.words.size() > action.words_max) {
      return BadUsage(
          fmt::format("{} has nothing to do with \"{}\"", name, call.words[action.words_max]));
    }
    for (const char* option : {"for", "position", "direction", "lane"}) {
      if (call.has(option) && action.options.find(option) == std::string_view::npos) {
        return BadUsage(fmt::format("{} does not take --{}", name, option));
      }
    }
    return &action;
  }
  return BadUsage(name.empty()
                      ? "what to do is missing"
                      : fmt::format("unknown word \"{}\". {}", name, DidYouMean(name, known)));
}

int Run(const Call& call) {
  const bool json = call.has("json");
  if (call.words == std::vector<std::string>{"metrics"}) {
    fmt::print("{}", json ? control::MetricCatalogueJson() : CatalogueText());
    return cli::kExitGood;
  }
  const auto action = FindAction(call);
  if (!action) return cli::Report(action.error());
  auto client = LinkClient::Open(call.text("http"), call.text("token-file"));
  if (!client) return cli::Report(client.error());
  const Answer answer = (*action)->ask(*client, call);
  if (!answer) return cli::Report(answer.error());
  if (json) {
    fmt::print("{}\n", answer->dump(2));
    return cli::kExitGood;
  }
  try {
    fmt::print("{}", (*action)->print(*answer));
  } catch (const nlohmann::json::exception& error) {
    return cli::Report(
        {ErrorCode::kIo,
         fmt::format("the emulator's answer is of another version ({})", error.what()),
         call.text("http")});
  }
  return cli::kExitGood;
}

}  // namespace

int CmdLink(const std::vector<std::string>& args) {
  const std::string address(control::kDefaultAddress);
  const auto text = [] { return po::value<std::string>(); };
  cli::Options options;
  options.usage = kUsage;
  options.visible.add_options()("for", text(), "cut: how long, as in 50ms (else until restored)")(
      "position", text(), "cut: where, from the link's first site, as in \"120 km\" (else 0 km)")(
      "direction", text(), "ab or ba (else both)")("lane", text(), "one lane, from 0 (else all)")(
      "http", text()->default_value(address), "where the emulator listens, or unix:/path")(
      "token-file", text(), "the emulator's token")("json", "machine output");
  options.hidden.add_options()("word", po::value<std::vector<std::string>>());
  options.positional.add("word", -1);
  bool help = false;
  auto values = cli::Parse(options, args, help);
  if (!values) return cli::Report(values.error());
  if (help) return cli::kExitGood;
  Call call;
  call.values = std::move(*values);
  if (call.has("word")) call.words = call.values["word"].as<std::vector<std::string>>();
  return Run(call);
}

}  // namespace farspan
