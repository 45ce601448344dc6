// farspan link …: asks and changes the links of a running emulator.
#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "emulator/base/nearest.h"
#include "emulator/control/address.h"
#include "emulator/control/metrics.h"
#include "transports/commands.h"
#include "transports/link_client.h"
#include "transports/link_text.h"

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
    "       farspan link rule list NAME [RULE]    fault rules, and what they have done\n"
    "       farspan link rule add NAME [CONDITION...] --action ACTION\n"
    "                                             do something to chosen packets\n"
    "       farspan link rule remove NAME RULE    take a rule away\n"
    "       farspan link rule clear NAME          take all of them away\n"
    "       farspan link metrics                  the metrics that an emulator exports\n\n"
    "  farspan link set chi-nyc distance=\"700 km\" loss=1e-5\n"
    "  farspan link cut chi-nyc --for 50ms --position \"120 km\"\n"
    "  farspan link rule add chi-nyc --match \"udp dst_port=4791\" --action drop --count 1\n\n"
    "Nothing in flight is lost or re-timed by `set` or a rule.\n\n";

struct Call {
  std::vector<std::string> words;  // after "link" or "link rule"
  po::variables_map values;

  bool has(const char* option) const { return values.count(option) != 0; }
  std::string text(const char* option) const {
    return has(option) ? values[option].as<std::string>() : "";
  }
};

tl::unexpected<Error> BadUsage(std::string message) {
  return Fail(ErrorCode::kInvalid, std::move(message) + "; see --help", "link");
}

// The options named, where they were given.
ordered_json OptionsOf(const Call& call, std::span<const char* const> options) {
  ordered_json body = ordered_json::object();
  for (const char* option : options) {
    if (call.has(option)) body[option] = call.text(option);
  }
  return body;
}

// These, and KEY=VALUE words from the third on.
Result<ordered_json> BodyOf(const Call& call, std::initializer_list<const char*> options) {
  ordered_json body = OptionsOf(call, options);
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

constexpr const char* kRuleOptions[] = {"match",       "action", "count", "nth",      "every",
                                        "probability", "delay",  "event", "from",     "until",
                                        "for",         "after",  "name",  "direction"};

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

std::string RulesPath(const Call& call) { return LinkPath(call.words[1]) + "/rules"; }
std::string RulePath(const Call& call) {
  return RulesPath(call) + (call.words.size() > 2 ? "/" + Encoded(call.words[2]) : "");
}
Answer ListRules(LinkClient& client, const Call& call) { return client.get(RulePath(call)); }
// Words after the name are conditions, too.
Answer AddRule(LinkClient& client, const Call& call) {
  ordered_json body = OptionsOf(call, kRuleOptions);
  std::string match = call.text("match");
  for (size_t i = 2; i < call.words.size(); ++i) {
    match += (match.empty() ? "" : " ") + call.words[i];
  }
  if (!match.empty()) body["match"] = match;
  return client.send("POST", RulesPath(call), body);
}
Answer RemoveRules(LinkClient& client, const Call& call) {
  constexpr const char* kOptions[] = {"direction"};
  return client.send("DELETE", RulePath(call), OptionsOf(call, kOptions));
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

constexpr Action kRuleActions[] = {
    {"list", 2, 3, "", ListRules, RulesText},
    {"add", 2, 64,
     "match action count nth every probability delay event from until for after name direction",
     AddRule, AppliedText},
    {"remove", 3, 3, "direction", RemoveRules, AppliedText},
    {"clear", 2, 2, "direction", RemoveRules, ClearedText},
};

constexpr const char* kChangeOptions[] = {"for", "position", "direction", "lane"};

bool IsWordOf(std::string_view words, std::string_view word) {
  for (size_t at = 0; (at = words.find(word, at)) != std::string_view::npos; ++at) {
    const size_t end = at + word.size();
    if ((at == 0 || words[at - 1] == ' ') && (end == words.size() || words[end] == ' '))
      return true;
  }
  return false;
}

Result<void> CheckOptions(const Call& call, const Action& action) {
  for (const std::span<const char* const> options :
       {std::span<const char* const>(kChangeOptions), std::span<const char* const>(kRuleOptions)}) {
    for (const char* option : options) {
      if (call.has(option) && !IsWordOf(action.options, option)) {
        return BadUsage(fmt::format("{} does not take --{}", action.name, option));
      }
    }
  }
  return {};
}

Result<const Action*> FindAction(const Call& call, std::span<const Action> actions) {
  std::vector<std::string_view> known;
  if (actions.data() == kActions) known = {"metrics", "rule"};
  const std::string name = call.words.empty() ? "" : call.words.front();
  for (const Action& action : actions) {
    known.push_back(action.name);
    if (action.name != name) continue;
    if (call.words.size() < action.words_min) {
      return BadUsage(fmt::format("{} needs {}", name,
                                  action.words_min == 2 ? "the link's NAME"
                                  : name == "set"       ? "NAME KEY=VALUE"
                                                        : "NAME and the RULE's name"));
    }
    if (call.words.size() > action.words_max) {
      return BadUsage(
          fmt::format("{} has nothing to do with \"{}\"", name, call.words[action.words_max]));
    }
    if (auto good = CheckOptions(call, action); !good) return tl::unexpected(good.error());
    return &action;
  }
  if (name.empty()) return BadUsage("what to do is missing");
  const std::string nearest = DidYouMean(name, known);
  return Fail(ErrorCode::kInvalid,
              fmt::format("unknown word \"{}\"; {}see --help", name,
                          nearest.empty() ? "" : nearest + " Or "),
              "link");
}

int Run(Call call) {
  const bool json = call.has("json");
  if (call.words == std::vector<std::string>{"metrics"}) {
    if (auto good = CheckOptions(call, {"metrics", 1, 1, "", {}, {}}); !good) {
      return cli::Report(good.error());
    }
    fmt::print("{}", json ? control::MetricCatalogueJson() : CatalogueText());
    return cli::kExitGood;
  }
  const bool rule = !call.words.empty() && call.words.front() == "rule";
  if (rule) call.words.erase(call.words.begin());
  const auto action = FindAction(call, rule ? std::span<const Action>(kRuleActions) : kActions);
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
  options.visible.add_options()("for", text(),
                                "cut, rule: how long, as in 50ms (else until restored, removed)")(
      "position", text(), "cut: where, from the link's first site, as in \"120 km\" (else 0 km)")(
      "direction", text(), "ab or ba (else both)")("lane", text(), "one lane, from 0 (else all)")(
      "match", text(), "rule: conditions, as in \"dst_port=4791 dscp=26\"")(
      "action", text(), "rule: drop, delay, duplicate, corrupt, mark, pass or trigger")(
      "delay", text(), "rule: by how much, as in 2ms")("event", text(),
                                                       "rule: the timeline's event to trigger")(
      "count", text(), "rule: how many packets at most")("nth", text(), "rule: from which one on")(
      "every", text(), "rule: every so many")("probability", text(),
                                              "rule: which share of them, as in 1%")(
      "from", text(), "rule: so long after now")("until", text(), "rule: until so long after now")(
      "after", text(), "rule: times count from the last packet of that rule")(
      "name", text(), "rule: what to call it")("http", text()->default_value(address),
                                               "where the emulator listens, or unix:/path")(
      "token-file", text(), "the emulator's token")("json", "machine output");
  options.hidden.add_options()("word", po::value<std::vector<std::string>>());
  options.positional.add("word", -1);
  for (const char* option : {"http", "token-file"}) {
    options.rules.push_back({option, [](const po::variables_map& values) -> std::string {
                               using Words = std::vector<std::string>;
                               const bool metrics = values.count("word") != 0 &&
                                                    values["word"].as<Words>() == Words{"metrics"};
                               return metrics ? "does nothing with metrics: no emulator is asked"
                                              : "";
                             }});
  }
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
