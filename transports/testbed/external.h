// External commands as a contender: a server on one host, a client on the other, as anyone would
// start them by hand, and one figure read from what they print.
//
// In both commands {host} is the address of the server's host, {port} a port that was free there,
// {size} the bytes to move, {role} "server" or "client"; any other {word} is an error. For every
// size and iteration the server is started anew; the client follows when the server has printed
// `ready`, or after `settle`. When the client has ended the server has a second to end by itself,
// then it is ended. Nothing that a command starts outlives it (supervised_process.h).
//
// The figure is goodput in bits per second: of the client's whole run by the clock ("wall":
// start-up included), or read from the output: "json:/end/sum_received/bits_per_second" (RFC 6901)
// or "regex:([0-9.]+) Gbit" (RE2's syntax, ^ and $ at a line's ends; the first match's first
// group), times `scale`. RE2 takes time and memory in proportion to what was printed, whatever the
// expression; it has no look-ahead and no back-references.
#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "emulator/base/result.h"
#include "emulator/base/time.h"
#include "transports/testbed/bootstrap.h"

namespace farspan::testbed {

struct ExternalSpec {
  std::string server, client;
  std::string goodput = "wall";
  double scale = 1;
  bool from_server = false;  // whose output is read
  std::string ready;         // a regular expression, as above
  TimeNs settle{500'000'000};
  TimeNs limit{60'000'000'000};  // of one run of the client
  uint64_t min_bytes = 1 << 20, max_bytes = 32 << 20, factor = 2;
  uint32_t iterations = 5;
};

struct ExternalRow {
  uint64_t bytes = 0;
  std::vector<double> wall_s;
  std::vector<double> goodput_bps;
};

Result<void> Check(const ExternalSpec& spec);

// The template with its fields filled in.
Result<std::string> FillIn(const std::string& command, const std::string& host, uint16_t port,
                           uint64_t bytes, const char* role);

// The figure in what was printed; `wall` is only for "wall".
Result<double> ReadGoodput(const ExternalSpec& spec, const std::string& output, uint64_t bytes,
                           TimeNs wall);

// Rank 0 runs the servers, rank 1 the clients; both get the rows. `local` is rank 0's address as
// rank 1 reaches it, where a port is chosen unless `port` says which. A command that fails ends the
// run, on both ranks, with its exit code and the last that it printed.
Result<std::vector<ExternalRow>> RunExternal(const ExternalSpec& spec, Bootstrap& bootstrap,
                                             const SocketAddress& local,
                                             std::optional<uint16_t> port,
                                             const std::function<void(const ExternalRow&)>& each);

// What both ranks must have in common.
std::string Describe(const ExternalSpec& spec);
std::string ExternalHeader();
std::string ToText(const ExternalRow& row);
nlohmann::json ToJson(const ExternalSpec& spec, const std::vector<ExternalRow>& rows);

}  // namespace farspan::testbed
