// Launch: which rank this process is, and who the others are.
//
// Either told by options, or by the environment of mpirun (Open MPI, MPICH) or srun, or else this
// machine runs all ranks: the process forks one child for each of the others. Call before any
// thread is started.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "emulator/base/result.h"

namespace farspan::testbed {

struct LaunchOptions {
  std::optional<uint32_t> rank, world;
  std::string root;  // "10.0.0.1:7000"; needed unless all ranks are on this machine
};

struct Launched {
  uint32_t rank = 0;
  uint32_t world = 0;
  std::string root;
  std::vector<pid_t> children;  // of rank 0, where it has made the others
};

// getenv, or a test's.
using Environment = std::function<const char*(const char*)>;

// How many ranks there are to be.
uint32_t WorldOf(const LaunchOptions& options, const Environment& environment);
Result<Launched> FindRank(const LaunchOptions& options, const Environment& environment);
// Makes the other ranks on this machine; returns in each of them, as that rank. Without a root, at
// a free port of the loopback.
Result<Launched> ForkRanks(uint32_t world, const std::string& root = {});
// Waits for the children; the greatest exit code among them and `own`.
int WaitForRanks(const Launched& launched, int own);

}  // namespace farspan::testbed
