// farspan-emulator: links as long as fiber, between ports.
#include "emulator/commands.h"

int main(int argc, char** argv) {
  const farspan::cli::Command commands[] = {
      {"check", "the resolved plan of a configuration: delay, loss, memory", farspan::CmdCheck},
      {"simulate", "the links of a configuration in virtual time: asked for against measured",
       farspan::CmdSimulate},
#ifdef FARSPAN_HAS_DPDK
      {"run", "emulate links between ports", farspan::CmdRun},
      {"bench", "packets per second that one core carries through a link", farspan::CmdBench},
#endif
  };
  return farspan::cli::RunProgram("farspan-emulator", commands, argc, argv);
}
