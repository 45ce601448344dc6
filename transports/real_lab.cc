#include "transports/real_lab.h"

#include <fmt/core.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <utility>

#include "emulator/cli/command_line.h"

namespace farspan {
namespace {

namespace fs = std::filesystem;

// Of a plan and its results; gone with the object.
class Directory {
 public:
  static Result<Directory> Make() {
    std::string path = (fs::temp_directory_path() / "farspan-compare-XXXXXX").string();
    if (mkdtemp(path.data()) == nullptr) {
      return Fail(ErrorCode::kMachine, "no directory can be made", fs::temp_directory_path());
    }
    return Directory(path);
  }
  Directory(Directory&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  ~Directory() {
    std::error_code ignored;
    if (!path_.empty()) fs::remove_all(path_, ignored);
  }

  fs::path file(const char* name) const { return path_ / name; }

 private:
  explicit Directory(fs::path path) : path_(std::move(path)) {}
  fs::path path_;
};

volatile std::sig_atomic_t lab_process = 0;

// What would end this process ends the lab, which takes back what it made, while this one waits.
void PassOn(int signal) { kill(lab_process, signal); }

class LabSignals {
 public:
  explicit LabSignals(pid_t lab) {
    lab_process = lab;
    struct sigaction action {};
    action.sa_handler = PassOn;
    action.sa_flags = SA_RESTART;
    for (size_t i = 0; i < std::size(kSignals); ++i) sigaction(kSignals[i], &action, &before_[i]);
  }
  ~LabSignals() {
    for (size_t i = 0; i < std::size(kSignals); ++i) sigaction(kSignals[i], &before_[i], nullptr);
  }
  LabSignals(const LabSignals&) = delete;
  LabSignals& operator=(const LabSignals&) = delete;

 private:
  static constexpr int kSignals[] = {SIGINT, SIGTERM, SIGHUP};
  struct sigaction before_[std::size(kSignals)];
};

int RunLab(const fs::path& plan, const fs::path& results) {
  const pid_t parent = getpid();
  const pid_t child = fork();
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent) std::_Exit(1);
    setenv("PYTHONPATH", FARSPAN_SOURCE_DIR "/scripts", 1);
    const fs::path build = fs::path(OwnProgram()).parent_path().parent_path();
    setenv("FARSPAN_BUILD", build.c_str(), 0);
    execlp("python3", "python3", "-B", "-m", "lab", "compare", plan.c_str(), results.c_str(),
           nullptr);
    std::_Exit(127);
  }
  if (child < 0) return -1;
  const LabSignals signals(child);
  int status = 0;
  const bool waited = waitpid(child, &status, 0) == child;
  return waited && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

}  // namespace

std::string OwnProgram() {
  std::error_code error;
  return fs::read_symlink("/proc/self/exe", error).string();
}

Result<nlohmann::json> RunInLab(const nlohmann::json& plan) {
  const auto directory = Directory::Make();
  if (!directory) return tl::unexpected(directory.error());
  std::ofstream(directory->file("plan.json")) << plan.dump();
  const int code = RunLab(directory->file("plan.json"), directory->file("results.json"));
  if (code == cli::kExitMachine) {
    return Fail(ErrorCode::kMachine, "the lab cannot be made here: see above", "--real");
  }
  if (code > 128) {
    return Fail(ErrorCode::kIo, "ended by a signal; the lab has taken back what it made", "--real");
  }
  if (code != 0) {
    return Fail(ErrorCode::kIo, fmt::format("the lab ended with {}", code), "--real");
  }
  std::ifstream in(directory->file("results.json"));
  auto results = nlohmann::json::parse(in, nullptr, false);
  if (results.is_discarded()) return Fail(ErrorCode::kIo, "the lab left no results", "--real");
  return results;
}

}  // namespace farspan
