// farspan: routes, live control, and the testbed of transports.
#include "transports/commands.h"

int main(int argc, char** argv) {
  constexpr farspan::cli::Command kCommands[] = {
      {"bench", "collectives over the transports, with nccl-tests' options and columns",
       farspan::CmdBench},
      {"compare", "contenders of a scenario against each other, on one channel",
       farspan::CmdCompare},
      {"conform", "whether a transport in a shared library keeps the rules", farspan::CmdConform},
      {"external", "any command as a contender: a server here, a client there",
       farspan::CmdExternal},
      {"gate", "a committed comparison run again: what got worse", farspan::CmdGate},
      {"link", "the links of a running emulator: list, show, set, cut, restore, epoch",
       farspan::CmdLink},
      {"nccl", "what NCCL can have in flight across a long link, and what to set",
       farspan::CmdNccl},
      {"report", "comparisons as a page with plots", farspan::CmdReport},
      {"route", "the fiber between two places, and its delay term by term", farspan::CmdRoute},
  };
  return farspan::cli::RunProgram("farspan", kCommands, argc, argv);
}
