#include "transports/testbed/launch.h"

#include <fmt/format.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "transports/drivers/address.h"

namespace farspan::testbed {
namespace {

struct Launcher {
  const char *name, *rank, *world;
};
constexpr Launcher kLaunchers[] = {
    {"mpirun of Open MPI", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"},
    {"mpirun of MPICH", "PMI_RANK", "PMI_SIZE"},
    {"srun", "SLURM_PROCID", "SLURM_NTASKS"},
};

constexpr uint32_t kForkedMost = 1'024;

struct LaunchedBy {
  const char* name;
  uint32_t rank, world;
};

// srun of one task is none: an interactive shell is such.
std::optional<LaunchedBy> FindLauncher(const Environment& environment) {
  for (const Launcher& launcher : kLaunchers) {
    const char* rank = environment(launcher.rank);
    const char* world = environment(launcher.world);
    if (rank == nullptr || world == nullptr) continue;
    const LaunchedBy by{launcher.name, static_cast<uint32_t>(std::strtoul(rank, nullptr, 10)),
                        static_cast<uint32_t>(std::strtoul(world, nullptr, 10))};
    return by.world == 1 ? std::nullopt : std::optional(by);
  }
  return std::nullopt;
}

// A port that is free now, for ranks that all live here.
Result<std::string> FreeLoopback() {
  const SocketAddress any = *ParseSocketAddress("127.0.0.1:0");
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const bool bound = fd >= 0 && bind(fd, any.get(), any.length) == 0;
  const std::string text = bound ? ToText(LocalAddress(fd)) : "";
  if (fd >= 0) ::close(fd);
  if (!bound) return Fail(ErrorCode::kMachine, "no TCP port of the loopback interface is free");
  return text;
}

}  // namespace

uint32_t WorldOf(const LaunchOptions& options, const Environment& environment) {
  const auto by = options.rank ? std::nullopt : FindLauncher(environment);
  return by ? by->world : options.world.value_or(2);
}

Result<Launched> FindRank(const LaunchOptions& options, const Environment& environment) {
  if (options.rank) {
    if (!options.world || options.root.empty()) {
      return Fail(ErrorCode::kInvalid, "--rank needs --world and --root too");
    }
    return Launched{*options.rank, *options.world, options.root, {}};
  }
  const auto by = FindLauncher(environment);
  if (!by) return ForkRanks(WorldOf(options, environment), options.root);
  if (options.world && *options.world != by->world) {
    return Fail(ErrorCode::kInvalid, fmt::format("started by {} with {} ranks, where {} are wanted",
                                                 by->name, by->world, *options.world));
  }
  if (options.root.empty()) {
    return Fail(ErrorCode::kInvalid,
                fmt::format("started by {} as rank {} of {}: say with --root where rank 0 can be "
                            "reached, for example --root 10.0.0.1:7000",
                            by->name, by->rank, by->world));
  }
  return Launched{by->rank, by->world, options.root, {}};
}

Result<Launched> ForkRanks(uint32_t world, const std::string& told) {
  if (world > kForkedMost) {
    return Fail(
        ErrorCode::kInvalid,
        fmt::format("{} ranks on one machine; at most {} are started here", world, kForkedMost),
        "--world");
  }
  Launched launched;
  launched.world = world;
  auto root = told.empty() ? FreeLoopback() : Result<std::string>(told);
  if (!root) return tl::unexpected(root.error());
  launched.root = *root;
  std::fflush(nullptr);
  const pid_t parent = getpid();
  for (uint32_t rank = 1; rank < world; ++rank) {
    const pid_t child = fork();
    if (child == 0) {
      prctl(PR_SET_PDEATHSIG, SIGTERM);
      if (getppid() != parent) std::_Exit(1);
      launched.rank = rank;
      launched.children.clear();
      return launched;
    }
    if (child < 0) {
      return Fail(ErrorCode::kMachine, fmt::format("no process could be made for rank {}: {}", rank,
                                                   std::strerror(errno)));
    }
    launched.children.push_back(child);
  }
  return launched;
}

int WaitForRanks(const Launched& launched, int own) {
  int worst = own;
  for (const pid_t child : launched.children) {
    int status = 0;
    if (waitpid(child, &status, 0) == child) {
      worst = std::max(worst, WIFEXITED(status) ? WEXITSTATUS(status) : 1);
    }
  }
  return worst;
}

}  // namespace farspan::testbed
