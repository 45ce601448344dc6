// The control server with a fake engine behind it, to look at the status page and to try the
// client:
//   control_demo [ADDRESS [TOKEN_FILE]]
// After a minute the run becomes INVALID, so that both faces of the page can be seen.
#include <chrono>
#include <cstdio>
#include <string>
#include <thread>

#include "emulator/control/server.h"
#include "tests/support/fake_engine.h"

int main(int argc, char** argv) {
  using namespace farspan;
  control::FakeEngine engine;
  control::ServerOptions options;
  if (argc > 1) options.address = argv[1];
  if (argc > 2) options.token_file = argv[2];
  const auto server = control::ControlServer::Start(engine, options);
  if (!server) {
    std::fprintf(stderr, "%s\n", server.error().text().c_str());
    return server.error().code == ErrorCode::kMachine ? 3 : 2;
  }
  std::printf("http://%s/\n", (*server)->address().text().c_str());
  std::fflush(stdout);
  for (int second = 1;; ++second) {
    std::this_thread::sleep_for(std::chrono::seconds(1));
    engine.advance(1);
    if (second < 60) continue;
    engine.edit([](control::EngineSnapshot& state) {
      state.valid = false;
      state.reasons = {"1,204 packets lost by the kernel's interface eth1: give its ring more room",
                       "lateness: 99 % is 6.1 ms, the budget of a software port is 5 ms"};
      state.ports[0].own_kernel_missed = 1'204;
      state.directions[0].counters.dropped_packets[static_cast<size_t>(link::Cause::kOwn)] = 37;
      state.directions[0].counters.forwarded_packets -= 37;
    });
  }
}
