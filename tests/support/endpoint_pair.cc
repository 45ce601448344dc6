#include "tests/support/endpoint_pair.h"

#include <cstdio>
#include <cstdlib>
#include <utility>

namespace farspan::test {

using namespace transport;

void GiveUp(const Error& error) {
  std::fprintf(stderr, "%s\n", error.text().c_str());
  std::abort();
}

EndpointPair::EndpointPair(const WireOptions& options, std::unique_ptr<Endpoint> first,
                           std::unique_ptr<Endpoint> second, const Properties& properties)
    : network(options.sim) {
  there = Must(network.add_wire(options.there, {.seed = options.link_seed, .direction = 0},
                                options.capacity));
  back = Must(network.add_wire(options.back, {.seed = options.link_seed, .direction = 1},
                               options.capacity));
  a = &network.add_host(std::move(first), properties, options.paths);
  b = &network.add_host(std::move(second), properties, options.paths);
  network.route(*a, *b, there);
  network.route(*b, *a, back);
}

bool EndpointPair::connect(TimeNs limit) {
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

MessageTimes EndpointPair::exchange(uint64_t bytes, TimeNs rtt, TimeNs limit) {
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
