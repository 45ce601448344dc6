#include "tests/support/span_pair.h"

#include <cstdio>
#include <cstdlib>
#include <utility>

namespace farspan::test {
namespace {

using namespace transport;

template <typename T>
T Must(Result<T> result) {
  if (!result) {
    std::fprintf(stderr, "%s\n", result.error().text().c_str());
    std::abort();
  }
  return *std::move(result);
}

}  // namespace

SpanPair::SpanPair(const PairOptions& options) : network(options.sim) {
  there = Must(network.add_wire(options.there, {.seed = options.link_seed, .direction = 0},
                                options.capacity));
  back = Must(network.add_wire(options.back, {.seed = options.link_seed, .direction = 1},
                               options.capacity));
  SpanConfig config = options.config;
  config.seed = 2 * options.link_seed;
  auto first = Must(Span::Create(config));
  config.seed += 1;
  auto second = Must(Span::Create(config));
  span_a = first.get();
  span_b = second.get();
  a = &network.add_host(std::move(first), {}, options.paths);
  b = &network.add_host(std::move(second), {}, options.paths);
  network.route(*a, *b, there);
  network.route(*b, *a, back);
}

bool SpanPair::connect(TimeNs limit) {
  Handle handle;
  const ListenId listener = Must(b->listen(handle));
  comm_a = Must(a->connect(handle));
  const auto connecting = [&] {
    if (!comm_b) comm_b = b->accept(listener);
    return a->state(comm_a) == CommState::kConnecting || !comm_b;
  };
  return network.run_while(connecting, network.now() + limit) &&
         a->state(comm_a) == CommState::kReady;
}

MessageTimes SpanPair::exchange(uint64_t bytes, TimeNs rtt, TimeNs limit) {
  MessageTimes times;
  const auto receive = b->post_recv(*comm_b, {nullptr, bytes}, 1);
  network.run_until(network.now() + rtt);
  const TimeNs start = network.now();
  const auto send = a->post_send(comm_a, {nullptr, bytes}, 1);
  if (!receive || !send) return times;
  const auto pending = [&] {
    const TimeNs since = network.now() - start;
    if (times.receiver == kNever && b->test(*receive).progress == Progress::kDone) {
      times.receiver = since;
    }
    if (times.sender == kNever && a->test(*send).progress == Progress::kDone) times.sender = since;
    return times.receiver == kNever || times.sender == kNever;
  };
  network.run_while(pending, start + limit);
  return times;
}

}  // namespace farspan::test
