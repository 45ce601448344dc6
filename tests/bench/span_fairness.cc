// How two flows of Span share 1 Gb/s with a queue of 2.5 MB, in virtual time, as Markdown:
//
//   span_fairness [SECONDS]      measured after a tenth of them; default 60
//
// Equal round trips of 20 ms, and round trips of 10 and 40 ms; the same controller on both, and
// each pair of different ones. Nothing is judged: tests/scenario/span_fairness_test.cc does that
// for equal flows.
#include <fmt/format.h>

#include <array>
#include <cstdlib>

#include "tests/support/shared_bottleneck.h"

namespace farspan::test {
namespace {

using namespace farspan::literals;

void Row(const char* first, TimeNs first_rtt, const char* second, TimeNs second_rtt, TimeNs end) {
  SharedBottleneck network({});
  network.add(first, first_rtt);
  network.add(second, second_rtt);
  const TimeNs warm{end.ns / 10};
  network.run_until(warm);
  const uint64_t a = network.delivered(0), b = network.delivered(1);
  network.run_until(end);
  const double megabits = 8e-6 / ToSeconds(end - warm);
  const double one = static_cast<double>(network.delivered(0) - a) * megabits;
  const double two = static_cast<double>(network.delivered(1) - b) * megabits;
  fmt::print("| {} | {} | {:.0f} | {} | {} | {:.0f} | {:.3f} | {:.2e} |\n", first,
             ToText(first_rtt), one, second, ToText(second_rtt), two, JainIndex(one, two),
             network.loss());
}

}  // namespace
}  // namespace farspan::test

int main(int argc, char** argv) {
  using namespace farspan;
  using namespace farspan::literals;
  const TimeNs end{static_cast<int64_t>((argc > 1 ? std::atof(argv[1]) : 60) * 1e9)};
  fmt::print(
      "| flow 1 | RTT | Mb/s | flow 2 | RTT | Mb/s | Jain | loss |\n"
      "|---|---|---|---|---|---|---|---|\n");
  constexpr std::array kControllers{"bbr", "cubic", "swift"};
  for (const char* one : kControllers) test::Row(one, 20_ms, one, 20_ms, end);
  for (const char* one : kControllers) test::Row(one, 10_ms, one, 40_ms, end);
  for (size_t i = 0; i < kControllers.size(); ++i) {
    for (size_t j = i + 1; j < kControllers.size(); ++j) {
      test::Row(kControllers[i], 20_ms, kControllers[j], 20_ms, end);
    }
  }
}
