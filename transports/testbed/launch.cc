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

Result<Launched> FindRank(const LaunchOptions& options,
                          const std::function<const char*(const char*)>& environment) {
  Launched launched;
  launched.root = options.root;
  if (options.rank) {
    if (!options.world || options.root.empty()) {
      return Fail(ErrorCode::kInvalid, "--rank needs --world and --root too");
    }
    launched.rank = *options.rank;
    launched.world = *options.world;
    return launched;
  }
  for (const Launcher& launcher : kLaunchers) {
    const char* rank = environment(launcher.rank);
    const char* world = environment(launcher.world);
    if (rank == nullptr || world == nullptr) continue;
    launched.rank = static_cast<uint32_t>(std::strtoul(rank, nullptr, 10));
    launched.world = static_cast<uint32_t>(std::strtoul(world, nullptr, 10));
    if (launched.world == 1) break;  // srun of one task, as an interactive shell is
    if (options.root.empty()) {
      return Fail(ErrorCode::kInvalid,
                  fmt::format("started by {} as rank {} of {}: say with --root where rank 0 can be "
                              "reached, for example --root 10.0.0.1:7000",
                              launcher.name, launched.rank, launched.world));
    }
    return launched;
  }
  return ForkRanks(options.world.value_or(2));
}

Result<Launched> ForkRanks(uint32_t world) {
  if (world > kForkedMost) {
    return Fail(
        ErrorCode::kInvalid,
        fmt::format("{} ranks on one machine; at most {} are started here", world, kForkedMost),
        "--world");
  }
  Launched launched;
  launched.world = world;
  auto root = FreeLoopback();
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
