// How two flows share a bottleneck in virtual time, as Markdown:
//
//   span_fairness [SECONDS]      measured after a tenth of them; default 60
//
// Two of Span over 1 Gb/s with a queue of 2.5 MB: equal round trips of 20 ms, and round trips of 10
// and 40 ms, with the same controller on both; equal ones of which the second begins some 2 s late,
// three times, measured after two fifths; and each pair of different ones. Then Span beside
// the model of kernel TCP under cubic, over that and over the lab's 200 Mb/s with a queue of one
// round trip and datagrams for an MTU of 1500. Nothing is judged:
// tests/scenario/span_fairness_test.cc does that.
#include <fmt/format.h>

#include <array>
#include <cstdlib>
#include <string>

#include "tests/support/shared_bottleneck.h"

namespace farspan::test {
namespace {

using namespace farspan::literals;

struct Flow {
  std::string congestion;
  TimeNs rtt = 20_ms;
  bool tcp = false;
  TimeNs start{};  // the second's
};

void Add(SharedBottleneck& network, const Flow& flow) {
  flow.tcp ? network.add_tcp(flow.congestion, flow.rtt) : network.add(flow.congestion, flow.rtt);
}

void Row(const BottleneckOptions& options, const Flow& first, const Flow& second, TimeNs end) {
  SharedBottleneck network(options);
  Add(network, first);
  network.run_until(second.start);
  Add(network, second);
  const TimeNs warm{second.start == TimeNs{} ? end.ns / 10 : 2 * end.ns / 5};
  network.run_until(warm);
  const uint64_t a = network.delivered(0), b = network.delivered(1);
  network.run_until(end);
  const double megabits = 8e-6 / ToSeconds(end - warm);
  const double one = static_cast<double>(network.delivered(0) - a) * megabits;
  const double two = static_cast<double>(network.delivered(1) - b) * megabits;
  const auto name = [](const Flow& flow) { return (flow.tcp ? "TCP " : "") + flow.congestion; };
  fmt::print("| {} | {} | {} | {:.0f} | {} | {} | {:.0f} | {:.3f} | {:.2e} |\n",
             ToText(options.rate), name(first), ToText(first.rtt), one, name(second),
             ToText(second.rtt), two, JainIndex(one, two), network.loss());
}

}  // namespace
}  // namespace farspan::test

int main(int argc, char** argv) {
  using namespace farspan;
  using namespace farspan::literals;
  const TimeNs end{static_cast<int64_t>((argc > 1 ? std::atof(argv[1]) : 60) * 1e9)};
  fmt::print(
      "| link | flow 1 | RTT | Mb/s | flow 2 | RTT | Mb/s | Jain | loss |\n"
      "|---|---|---|---|---|---|---|---|---|\n");
  constexpr std::array kControllers{"bbr", "cubic", "swift"};
  for (const char* one : kControllers) test::Row({}, {one}, {one}, end);
  for (const char* one : kControllers) test::Row({}, {one, 10_ms}, {one, 40_ms}, end);
  for (const char* one : kControllers) {
    for (int64_t late = 0; late < 3; ++late) {
      test::Row({}, {one}, {.congestion = one, .start = 2_s + TimeNs{late * 37'000'000}}, end);
    }
  }
  for (size_t i = 0; i < kControllers.size(); ++i) {
    for (size_t j = i + 1; j < kControllers.size(); ++j) {
      test::Row({}, {kControllers[i]}, {kControllers[j]}, end);
    }
  }
  const test::Flow tcp{.congestion = "cubic", .tcp = true};
  const test::BottleneckOptions lab{200_mbps, 10_ms, 500'000, 1'408};
  for (const test::BottleneckOptions& options : {test::BottleneckOptions{}, lab}) {
    test::Row(options, tcp, tcp, end);
    for (const char* one : kControllers) test::Row(options, tcp, {one}, end);
  }
}
