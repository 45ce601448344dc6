#include "transports/testbed/external.h"

#include <fmt/format.h>
#include <re2/re2.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <numeric>
#include <string_view>

#include "transports/drivers/monotonic.h"
#include "transports/testbed/supervised_process.h"

namespace farspan::testbed {
namespace {

using nlohmann::json;

constexpr TimeNs kLinger{1'000'000'000};  // that a server has to end by itself
constexpr TimeNs kTurn{1'000'000};        // of looking after a server while its client is awaited

constexpr size_t kWordsMax = 300;  // of a command's last line, in errors

constexpr std::string_view kJson = "json:";
constexpr std::string_view kRegex = "regex:";

// What commands print is bytes; ^ and $ are a line's.
std::unique_ptr<RE2> MakeRegex(const std::string& text) {
  RE2::Options options(RE2::Latin1);
  options.set_log_errors(false);
  return std::make_unique<RE2>("(?m)" + text, options);
}

Result<void> CheckRegex(const std::string& text, int groups, const char* option) {
  const auto regex = MakeRegex(text);
  if (!regex->ok()) {
    return Fail(ErrorCode::kInvalid,
                fmt::format("'{}' is no regular expression of RE2: {}", text, regex->error()),
                option);
  }
  if (regex->NumberOfCapturingGroups() >= groups) return {};
  return Fail(ErrorCode::kInvalid, "needs a (group) around the number", option);
}

Result<double> FromJson(const std::string& pointer, const std::string& output) {
  const json parsed = json::parse(output, nullptr, false);
  if (parsed.is_discarded()) return Fail(ErrorCode::kIo, "the output is no JSON");
  try {
    const json& value = parsed.at(json::json_pointer(pointer));
    if (value.is_number()) return value.get<double>();
  } catch (const json::exception&) {
  }
  return Fail(ErrorCode::kIo, fmt::format("the output has no number at '{}'", pointer));
}

Result<double> FromRegex(const std::string& expression, const std::string& output) {
  if (std::string text; RE2::PartialMatch(output, *MakeRegex(expression), &text)) {
    char* end = nullptr;
    const double value = std::strtod(text.c_str(), &end);
    if (end != text.c_str() && std::isfinite(value)) return value;
  }
  return Fail(ErrorCode::kIo, fmt::format("nothing in the output matches '{}'", expression));
}

Result<uint16_t> FreePort(const SocketAddress& local) {
  const int fd = ::socket(local.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const bool bound = fd >= 0 && bind(fd, local.get(), local.length) == 0;
  const std::string text = bound ? ToText(LocalAddress(fd)) : "";
  if (fd >= 0) ::close(fd);
  if (!bound) return Fail(ErrorCode::kMachine, "no port is free at " + ToText(local));
  return static_cast<uint16_t>(std::strtoul(text.c_str() + text.rfind(':') + 1, nullptr, 10));
}

std::string LastLine(const std::string& text) {
  const size_t end = text.find_last_not_of("\r\n ");
  if (end == text.npos) return {};
  const size_t line = text.find_last_of('\n', end) + 1;  // npos + 1 is 0
  return text.substr(line, std::min(end + 1 - line, kWordsMax));
}

std::string HowItEnded(const char* role, const SupervisedProcess& process) {
  const std::string last = LastLine(process.errors().empty() ? process.output() : process.errors());
  return fmt::format("the {} ended with exit code {}{}{}", role, process.exit_code(),
                     last.empty() ? "" : ": ", last);
}

// What one side tells the other after its part: {"error"} or its figures.
json ErrorOf(const Error& error) { return {{"error", error.text()}}; }

// One rank's part in one run.
class Side {
 public:
  Side(const ExternalSpec& spec, Bootstrap& bootstrap, const SocketAddress& local)
      : spec_(spec), bootstrap_(bootstrap), local_(local) {}

  // One run of both commands; adds its figures to the row.
  Result<void> run(ExternalRow& row, std::optional<uint16_t> port) {
    const bool serves = bootstrap_.rank() == 0;
    server_.reset();
    auto told = exchange(serves ? start_server(row.bytes, port) : json::object());
    if (!told) return tl::unexpected(told.error());
    const json address = (*told)[0];
    told = exchange(serves ? json::object() : run_client(row.bytes, address));
    if (!told) return tl::unexpected(told.error());
    json figures = (*told)[1];
    told = exchange(serves ? end_server(row.bytes, figures) : json::object());
    if (!told) return tl::unexpected(told.error());
    if (spec_.from_server) figures["goodput"] = (*told)[0]["goodput"];
    row.wall_s.push_back(figures["wall_s"]);
    row.goodput_bps.push_back(figures["goodput"]);
    return {};
  }

 private:
  // Both sides' words; an error of either is an error here.
  Result<std::vector<json>> exchange(const json& mine) {
    const auto look_after = [this] {
      if (server_ != nullptr) server_->wait(MonotonicNow() + kTurn);
    };
    // What commands print need not be UTF-8.
    const std::string word = mine.dump(-1, ' ', false, json::error_handler_t::replace);
    const auto all =
        server_ == nullptr ? bootstrap_.all_gather(word) : bootstrap_.all_gather(word, look_after);
    if (!all) return tl::unexpected(all.error());
    std::vector<json> words;
    for (const std::string& one : *all) {
      words.push_back(json::parse(one, nullptr, false));
      if (!words.back().is_object()) return Fail(ErrorCode::kIo, "the ranks do different things");
      if (words.back().contains("error")) {
        return Fail(ErrorCode::kIo, words.back()["error"].get<std::string>());
      }
    }
    return words;
  }

  json start_server(uint64_t bytes, std::optional<uint16_t> told) {
    const auto port = told ? Result<uint16_t>(*told) : FreePort(local_);
    if (!port) return ErrorOf(port.error());
    const std::string host = HostOf(local_);
    const auto command = FillIn(spec_.server, host, *port, bytes, "server");
    if (!command) return ErrorOf(command.error());
    auto started = SupervisedProcess::Start(*command);
    if (!started) return ErrorOf(started.error());
    server_ = std::move(*started);
    const auto ready = await_ready();
    if (!ready) return ErrorOf(ready.error());
    return {{"host", host}, {"port", *port}};
  }

  Result<void> await_ready() {
    const bool told = !spec_.ready.empty();
    const auto ready = MakeRegex(spec_.ready);
    const TimeNs end = MonotonicNow() + (told ? spec_.limit : spec_.settle);
    while (MonotonicNow() < end) {
      const bool ended = server_->wait(std::min(end, MonotonicNow() + TimeNs{10'000'000}));
      if (told && (RE2::PartialMatch(server_->output(), *ready) ||
                   RE2::PartialMatch(server_->errors(), *ready))) {
        return {};
      }
      if (ended) return Fail(ErrorCode::kIo, HowItEnded("server", *server_) + " (too early)");
    }
    if (!told) return {};
    return Fail(ErrorCode::kIo, fmt::format("the server has not printed '{}' for {:g} s",
                                            spec_.ready, ToSeconds(spec_.limit)));
  }

  json run_client(uint64_t bytes, const json& address) {
    const auto command = FillIn(spec_.client, address["host"].get<std::string>(),
                                address["port"].get<uint16_t>(), bytes, "client");
    if (!command) return ErrorOf(command.error());
    const auto started = SupervisedProcess::Start(*command);
    if (!started) return ErrorOf(started.error());
    SupervisedProcess& client = **started;
    if (!client.wait(MonotonicNow() + spec_.limit)) {
      client.stop();
      return {{"error", fmt::format("the client had not ended after {:g} s and was ended",
                                    ToSeconds(spec_.limit))}};
    }
    if (client.exit_code() != 0) return {{"error", HowItEnded("client", client)}};
    json figures = {{"wall_s", ToSeconds(client.wall())}};
    if (spec_.from_server) return figures;
    const auto goodput = ReadGoodput(spec_, client.output(), bytes, client.wall());
    if (!goodput) return ErrorOf(goodput.error());
    figures["goodput"] = *goodput;
    return figures;
  }

  // A server that had to be ended has done nothing wrong: not all end by themselves.
  json end_server(uint64_t bytes, const json& figures) {
    const bool by_itself = server_->wait(MonotonicNow() + kLinger);
    server_->stop();
    if (by_itself && server_->exit_code() != 0) return {{"error", HowItEnded("server", *server_)}};
    if (!spec_.from_server) return json::object();
    const TimeNs wall{std::llround(figures["wall_s"].get<double>() * 1e9)};
    const auto goodput = ReadGoodput(spec_, server_->output(), bytes, wall);
    if (!goodput) return ErrorOf(goodput.error());
    return {{"goodput", *goodput}};
  }

  const ExternalSpec& spec_;
  Bootstrap& bootstrap_;
  const SocketAddress local_;
  std::unique_ptr<SupervisedProcess> server_;
};

double Mean(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

}  // namespace

Result<void> Check(const ExternalSpec& spec) {
  const auto wrong = [](const char* what) { return Fail(ErrorCode::kInvalid, what); };
  if (spec.server.empty() || spec.client.empty()) return wrong("both --server and --client: what?");
  if (spec.iterations == 0 || spec.factor < 2 || spec.min_bytes == 0 ||
      spec.min_bytes > spec.max_bytes) {
    return wrong("--iters must be 1 or more, --stepfactor 2 or more, --minbytes up to --maxbytes");
  }
  for (const std::string& command : {spec.server, spec.client}) {
    if (auto filled = FillIn(command, "", 0, 0, ""); !filled) return tl::unexpected(filled.error());
  }
  if (auto ready = CheckRegex(spec.ready, 0, "--ready"); !ready) return ready;
  if (spec.goodput == "wall") return {};
  if (spec.goodput.starts_with(kJson)) {
    try {
      const json::json_pointer pointer(spec.goodput.substr(kJson.size()));
      return {};
    } catch (const json::exception& error) {
      return Fail(ErrorCode::kInvalid, error.what(), "--goodput");
    }
  }
  if (!spec.goodput.starts_with(kRegex)) {
    return wrong("--goodput is wall, json:POINTER or regex:EXPRESSION");
  }
  return CheckRegex(spec.goodput.substr(kRegex.size()), 1, "--goodput");
}

Result<std::string> FillIn(const std::string& command, const std::string& host, uint16_t port,
                           uint64_t bytes, const char* role) {
  static const RE2 kField("((?s).*?)\\{([a-z]+)\\}", RE2::Latin1);
  std::string filled;
  re2::StringPiece rest(command);
  for (std::string before, name; RE2::Consume(&rest, kField, &before, &name);) {
    filled += before;
    if (name == "host") {
      filled += host;
    } else if (name == "port") {
      filled += std::to_string(port);
    } else if (name == "size") {
      filled += std::to_string(bytes);
    } else if (name == "role") {
      filled += role;
    } else {
      return Fail(
          ErrorCode::kInvalid,
          fmt::format("{{{}}} is unknown; there are {{host}}, {{port}}, {{size}}, {{role}}", name),
          command);
    }
  }
  return filled.append(rest.data(), rest.size());
}

Result<double> ReadGoodput(const ExternalSpec& spec, const std::string& output, uint64_t bytes,
                           TimeNs wall) {
  if (spec.goodput == "wall") return 8 * static_cast<double>(bytes) / ToSeconds(wall);
  const bool is_json = spec.goodput.starts_with(kJson);
  auto value = is_json ? FromJson(spec.goodput.substr(kJson.size()), output)
                       : FromRegex(spec.goodput.substr(kRegex.size()), output);
  if (value) *value *= spec.scale;
  return value;
}

Result<std::vector<ExternalRow>> RunExternal(const ExternalSpec& spec, Bootstrap& bootstrap,
                                             const SocketAddress& local,
                                             std::optional<uint16_t> port,
                                             const std::function<void(const ExternalRow&)>& each) {
  std::vector<ExternalRow> rows;
  Side side(spec, bootstrap, local);
  for (uint64_t bytes = spec.min_bytes; bytes <= spec.max_bytes; bytes *= spec.factor) {
    ExternalRow row{bytes, {}, {}};
    for (uint32_t i = 0; i < spec.iterations; ++i) {
      if (auto done = side.run(row, port); !done) return tl::unexpected(done.error());
    }
    each(row);
    rows.push_back(row);
  }
  return rows;
}

std::string ExternalHeader() {
  return fmt::format("{:>14} {:>12} {:>14} {:>14} {:>14}\n{:>14} {:>12} {:>14} {:>14} {:>14}\n",
                     "size", "wall", "goodput", "least", "most", "(B)", "(s)", "(Mb/s)", "(Mb/s)",
                     "(Mb/s)");
}

std::string ToText(const ExternalRow& row) {
  const auto [least, most] = std::minmax_element(row.goodput_bps.begin(), row.goodput_bps.end());
  return fmt::format("{:>14} {:>12.4f} {:>14.2f} {:>14.2f} {:>14.2f}\n", row.bytes,
                     Mean(row.wall_s), Mean(row.goodput_bps) / 1e6, *least / 1e6, *most / 1e6);
}

nlohmann::json ToJson(const ExternalSpec& spec, const std::vector<ExternalRow>& rows) {
  json list = json::array();
  for (const ExternalRow& row : rows) {
    list.push_back({{"bytes", row.bytes},
                    {"wall_s", row.wall_s},
                    {"goodput_bps", row.goodput_bps},
                    {"goodput_bps_mean", Mean(row.goodput_bps)}});
  }
  return {{"schema", "farspan.external.v1"}, {"label", "measured"},     {"server", spec.server},
          {"client", spec.client},           {"goodput", spec.goodput}, {"rows", list}};
}

std::string Describe(const ExternalSpec& spec) {
  return fmt::format("external, {} to {} B by {}, {} runs, {} from the {}: {} and {}",
                     spec.min_bytes, spec.max_bytes, spec.factor, spec.iterations, spec.goodput,
                     spec.from_server ? "server" : "client", spec.server, spec.client);
}

}  // namespace farspan::testbed
