// farspan-flow: messages from one host to another over a transport, measured and verified.
//
//   farspan-flow receive --root 10.77.0.2:7000 [OPTIONS]
//   farspan-flow send    --root 10.77.0.2:7000 [the same options]
//
// What a collective does not show: one direction alone, every byte of every message compared, any
// sizes. The receiver listens at --root, posts --depth receives ahead, and compares each message's
// bytes and place with what its number and offset say they are; the sender keeps --depth messages
// under way for --seconds, and one of no bytes ends the flow. Both print JSON on standard output.
// Threading: one thread. Every run is bounded by --seconds and --timeout.
#include <fmt/core.h>

#include <cstring>
#include <deque>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "emulator/base/random.h"
#include "emulator/base/units.h"
#include "emulator/cli/command_line.h"
#include "transports/bench_nets.h"
#include "transports/net_options.h"
#include "transports/testbed/bootstrap.h"

namespace farspan {
namespace {

namespace po = boost::program_options;
using transport::CommState;
using transport::Progress;
using transport::RequestId;

constexpr TimeNs kWait{100'000'000};

struct FlowOptions {
  uint64_t bytes = 0;  // of a message, at most
  bool vary = false;   // sizes from 1 to `bytes`
  bool check = false;
  uint64_t seed = 1;
  uint32_t depth = 0;
  TimeNs duration{};
  TimeNs omit{};       // from the start, of what is measured
  int64_t spoil = -1;  // the message that gets a wrong byte: the twin of `check`
  TimeNs timeout{};
};

uint64_t BytesOf(const FlowOptions& options, uint64_t message) {
  if (!options.vary) return options.bytes;
  return 1 + Draw({options.seed}, RandomPurpose::kTest, message).lo % options.bytes;
}

// What stands at a place of a message: different for every message and every place.
uint64_t WordOf(const FlowOptions& options, uint64_t message, uint64_t place) {
  uint64_t word = (options.seed << 56 ^ message << 32 ^ place) * 0x9e3779b97f4a7c15u;
  return (word ^ word >> 29) * 0xbf58476d1ce4e5b9u;
}

void Fill(const FlowOptions& options, uint64_t message, std::span<std::byte> out) {
  for (size_t at = 0; at < out.size(); at += 8) {
    const uint64_t word = WordOf(options, message, at / 8);
    std::memcpy(&out[at], &word, std::min<size_t>(8, out.size() - at));
  }
}

bool Matches(const FlowOptions& options, uint64_t message, std::span<const std::byte> bytes) {
  bool same = true;
  for (size_t at = 0; at < bytes.size(); at += 8) {
    const uint64_t word = WordOf(options, message, at / 8);
    same = same && std::memcmp(&bytes[at], &word, std::min<size_t>(8, bytes.size() - at)) == 0;
  }
  return same;
}

// One end: a comm, and a ring of buffers for the messages that are posted.
class End {
 public:
  End(transport::Transport& transport, const FlowOptions& options)
      : transport_(transport), options_(options), memory_(options.depth) {
    for (auto& buffer : memory_) buffer.resize(options.bytes);
  }

  Result<nlohmann::json> send(transport::CommId comm) {
    const TimeNs start = transport_.now();
    last_ = start;
    for (bool over = false; !over || !posted_.empty();) {
      while (!over && posted_.size() < memory_.size()) {
        const bool end = transport_.now() - start >= options_.duration;
        const uint64_t bytes = end ? 0 : BytesOf(options_, next_);
        auto& buffer = memory_[next_ % memory_.size()];
        if (options_.check) Fill(options_, next_, std::span(buffer).first(bytes));
        if (static_cast<int64_t>(next_) == options_.spoil && bytes > 0) {
          buffer[bytes / 2] ^= std::byte{1};
        }
        const auto request = transport_.post_send(comm, {buffer.data(), bytes, 0}, 0);
        if (!request) break;
        posted_.push_back(*request);
        ++next_;
        over = end;
      }
      if (auto waited = step(comm); !waited) return tl::unexpected(waited.error());
    }
    return nlohmann::json{{"role", "send"},
                          {"messages", next_ - 1},
                          {"seconds", ToSeconds(transport_.now() - start)}};
  }

  Result<nlohmann::json> receive(transport::CommId comm) {
    const TimeNs start = transport_.now();
    last_ = start;
    TimeNs from = start;  // what is measured
    uint64_t bytes = 0, measured = 0, wrong = 0, received = 0;
    while (true) {
      while (posted_.size() < memory_.size()) {
        auto& buffer = memory_[next_ % memory_.size()];
        const auto request = transport_.post_recv(comm, {buffer.data(), buffer.size(), 0}, 0);
        if (!request) break;
        posted_.push_back(*request);
        ++next_;
      }
      const auto done = step(comm);
      if (!done) return tl::unexpected(done.error());
      if (!*done) continue;
      if (**done == 0) break;
      const auto message = std::span<const std::byte>(memory_[received % memory_.size()]);
      if (options_.check && (**done != BytesOf(options_, received) ||
                             !Matches(options_, received, message.first(**done)))) {
        ++wrong;
      }
      ++received;
      bytes += **done;
      measured += **done;
      if (last_ - start < options_.omit) {
        from = last_;
        measured = 0;
      }
    }
    const double seconds = ToSeconds(last_ - from);
    return nlohmann::json{
        {"role", "receive"},
        {"messages", received},
        {"wrong", options_.check ? nlohmann::json(wrong) : nlohmann::json()},
        {"bytes", bytes},
        {"seconds", ToSeconds(last_ - start)},
        {"goodput_bits_per_s", seconds > 0 ? static_cast<double>(measured) * 8 / seconds : 0.0}};
  }

 private:
  // The length of the next message that is done, waiting for it if there is none; none after a
  // while without one.
  Result<std::optional<uint64_t>> step(transport::CommId comm) {
    for (const bool again : {true, false}) {
      if (!posted_.empty()) {
        const auto done = transport_.test(posted_.front());
        if (done.progress == Progress::kFailed) {
          return Fail(ErrorCode::kIo, std::string(transport_.failure(comm)));
        }
        if (done.progress == Progress::kDone) {
          posted_.pop_front();
          last_ = transport_.now();
          return done.bytes;
        }
      }
      if (transport_.state(comm) == CommState::kFailed) {
        return Fail(ErrorCode::kIo, std::string(transport_.failure(comm)));
      }
      if (again) transport_.progress(transport_.now() + kWait);
    }
    if (transport_.now() - last_ > options_.timeout) {
      return Fail(ErrorCode::kIo, fmt::format("no message was completed for {:.0f} s",
                                              ToSeconds(options_.timeout)));
    }
    return std::nullopt;
  }

  transport::Transport& transport_;
  const FlowOptions& options_;
  std::vector<std::vector<std::byte>> memory_;
  std::deque<RequestId> posted_;
  uint64_t next_ = 0;
  TimeNs last_{};  // when a message was done
};

// Both ends: the receiver's handle travels by the bootstrap, and nobody leaves before the other.
Result<nlohmann::json> RunFlow(testbed::Bootstrap& bootstrap, transport::Transport& transport,
                               const FlowOptions& options) {
  const bool receives = bootstrap.rank() == 0;
  transport::Handle handle{};
  std::optional<transport::ListenId> listener;
  if (receives) {
    const auto listening = transport.listen(handle);
    if (!listening) return tl::unexpected(listening.error());
    listener = *listening;
  }
  const auto meanwhile = [&] { transport.progress(transport.now() + TimeNs{1'000'000}); };
  const auto all = bootstrap.all_gather({reinterpret_cast<char*>(handle.data()), handle.size()});
  if (!all) return tl::unexpected(all.error());
  std::memcpy(handle.data(), (*all)[0].data(), handle.size());
  const TimeNs end = transport.now() + options.timeout;
  std::optional<transport::CommId> comm;
  if (!receives) {
    auto connected = transport.connect(handle);
    if (!connected) return tl::unexpected(connected.error());
    comm = *connected;
  }
  while (!comm || transport.state(*comm) == CommState::kConnecting) {
    if (transport.now() > end) return Fail(ErrorCode::kIo, "the two ends did not connect");
    transport.progress(transport.now() + kWait);
    if (!comm) comm = transport.accept(*listener);
  }
  if (auto met = bootstrap.barrier(meanwhile); !met) return tl::unexpected(met.error());
  End own(transport, options);
  auto result = receives ? own.receive(*comm) : own.send(*comm);
  if (!result) return result;
  if (auto met = bootstrap.barrier(meanwhile); !met) return tl::unexpected(met.error());
  transport.close(*comm);
  return result;
}

cli::Options MakeOptions() {
  cli::Options options;
  options.usage = "Usage: farspan-flow send|receive --root ADDRESS:PORT [OPTIONS]\n\n";
  options.hidden.add_options()("role", po::value<std::string>()->default_value(""));
  options.positional.add("role", 1);
  const auto text = [](const char* value) {
    return po::value<std::string>()->default_value(value);
  };
  auto add = options.visible.add_options();
  add("root", text(""), "where the receiver listens");
  add("local", text(""), "this end's address, port 0");
  add("message", text("1M"), "bytes of a message");
  add("vary", "messages of 1 to that many bytes");
  add("check", "compare every byte");
  add("spoil", po::value<int64_t>()->default_value(-1), "send a wrong byte in this message");
  add("depth", po::value<uint32_t>()->default_value(16), "messages under way at once");
  add("seconds", text("2 s"), "how long to send");
  add("omit", text("0 s"), "not measured, at the start");
  add("timeout", text("10 s"), "without progress");
  AddNetOptions(options);
  return options;
}

Result<FlowOptions> ReadFlow(const po::variables_map& values) {
  FlowOptions options;
  const auto bytes = ParseSize(values["message"].as<std::string>());
  if (!bytes) return tl::unexpected(bytes.error());
  for (const auto& [name, target] : {std::pair{"seconds", &options.duration},
                                     {"omit", &options.omit},
                                     {"timeout", &options.timeout}}) {
    const auto time = ParseTime(values[name].as<std::string>());
    if (!time) return tl::unexpected(time.error());
    *target = *time;
  }
  options.bytes = *bytes;
  options.vary = values.count("vary") > 0;
  options.check = values.count("check") > 0;
  options.spoil = values["spoil"].as<int64_t>();
  options.seed = values["seed"].as<uint64_t>();
  options.depth = values["depth"].as<uint32_t>();
  if (*bytes == 0 || options.depth == 0) {
    return Fail(ErrorCode::kInvalid, "--message and --depth must be at least 1");
  }
  return options;
}

Result<nlohmann::json> Run(const po::variables_map& values) {
  const auto role = values["role"].as<std::string>();
  if (role != "send" && role != "receive") {
    return Fail(ErrorCode::kInvalid, "send or receive? See farspan-flow --help");
  }
  const auto options = ReadFlow(values);
  if (!options) return tl::unexpected(options.error());
  const auto root = ParseSocketAddress(values["root"].as<std::string>());
  if (!root) return tl::unexpected(root.error());
  const std::string told = values["local"].as<std::string>();
  const auto local = told.empty() ? WithPort(*root, 0) : ParseSocketAddress(told);
  if (!local) return tl::unexpected(local.error());
  auto transport = OpenNet(values, *local, options->timeout);
  if (!transport) return tl::unexpected(transport.error());
  const std::string run =
      fmt::format("flow {} {} {}", values["net"].as<std::string>(), options->bytes, options->seed);
  const uint32_t rank = role == "receive" ? 0 : 1;
  auto bootstrap = testbed::Bootstrap::Join({rank, 2, *root, run, options->timeout});
  if (!bootstrap) return tl::unexpected(bootstrap.error());
  return RunFlow(**bootstrap, **transport, *options);
}

int Main(int argc, char** argv) {
  bool help = false;
  const auto values = cli::Parse(MakeOptions(), {argv + 1, argv + argc}, help);
  if (!values) return cli::Report(values.error());
  if (help) return cli::kExitGood;
  const auto result = Run(*values);
  if (!result) return cli::Report(result.error());
  fmt::print("{}\n", result->dump());
  return cli::kExitGood;
}

}  // namespace
}  // namespace farspan

int main(int argc, char** argv) { return farspan::Main(argc, argv); }
