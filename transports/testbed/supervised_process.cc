#include "transports/testbed/supervised_process.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "transports/drivers/monotonic.h"

namespace farspan::testbed {
namespace {

constexpr TimeNs kBeforeKill{1'000'000'000};

struct Pipe {
  int read_end = -1, write_end = -1;
  ~Pipe() {
    if (read_end >= 0) close(read_end);
    if (write_end >= 0) close(write_end);
  }
  bool open() {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return false;
    read_end = ends[0];
    write_end = ends[1];
    return true;
  }
};

// Sends SIGKILL to every child of this process. Their children become ours when they are reaped.
void KillChildren() {
  DIR* processes = opendir("/proc");
  if (processes == nullptr) return;
  while (const dirent* entry = readdir(processes)) {
    const auto pid = static_cast<pid_t>(std::strtol(entry->d_name, nullptr, 10));
    if (pid <= 0) continue;
    char path[64], text[512] = {};
    std::snprintf(path, sizeof path, "/proc/%d/stat", pid);
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) continue;
    const ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    const char* after_name = n > 0 ? std::strrchr(text, ')') : nullptr;
    int parent = 0;
    if (after_name != nullptr && std::sscanf(after_name + 1, " %*c %d", &parent) == 1 &&
        parent == getpid()) {
      kill(pid, SIGKILL);
    }
  }
  closedir(processes);
}

[[noreturn]] void BecomeCommand(const std::string& command, pid_t supervisor, int out, int err) {
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != supervisor) _exit(127);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  const int null = open("/dev/null", O_RDONLY);
  dup2(null, STDIN_FILENO);
  dup2(out, STDOUT_FILENO);
  dup2(err, STDERR_FILENO);
  execl("/bin/sh", "sh", "-c", command.c_str(), static_cast<char*>(nullptr));
  _exit(127);
}

// A terminal's signals are for farspan, whose end ends the supervisor.
sigset_t Watched(bool and_terminal) {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGCHLD, SIGTERM}) sigaddset(&signals, signal);
  if (!and_terminal) return signals;
  for (const int signal : {SIGINT, SIGHUP, SIGQUIT}) sigaddset(&signals, signal);
  return signals;
}

// Until the command has ended, by SIGTERM if one comes here. Its status.
int Watch(pid_t command) {
  const sigset_t watched = Watched(false);
  TimeNs kill_at = kNever;
  while (true) {
    int status = 0;
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
      if (pid == command) return status;
    }
    if (kill_at <= MonotonicNow()) {
      kill(command, SIGKILL);
      kill_at = kNever;
    }
    const int64_t left = std::max<int64_t>((kill_at - MonotonicNow()).ns, 0);
    const timespec at_most{left / 1'000'000'000, left % 1'000'000'000};
    if (sigtimedwait(&watched, nullptr, &at_most) != SIGTERM) continue;
    kill(-command, SIGTERM);
    kill_at = std::min(kill_at, MonotonicNow() + kBeforeKill);
  }
}

[[noreturn]] void Supervise(const std::string& command, pid_t parent, int out, int err,
                            int status_fd) {
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  const sigset_t blocked = Watched(true);
  sigprocmask(SIG_BLOCK, &blocked, nullptr);
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (getppid() != parent) _exit(1);
  const pid_t self = getpid();
  const pid_t child = fork();
  if (child == 0) BecomeCommand(command, self, out, err);
  if (child < 0) _exit(1);
  setpgid(child, child);
  const int status = Watch(child);
  // The command's time ends here, not when its leftovers are gone.
  const ssize_t written = write(status_fd, &status, sizeof status);
  while (waitpid(-1, nullptr, WNOHANG) >= 0 || errno != ECHILD) {
    KillChildren();
    usleep(1'000);
  }
  _exit(written == sizeof status ? 0 : 1);
}

// Takes what is there. False: the other side has closed.
bool Take(int fd, std::string& into) {
  char block[65536];
  const ssize_t n = read(fd, block, sizeof block);
  if (n < 0) return errno == EINTR || errno == EAGAIN;
  const size_t room = SupervisedProcess::kOutputMax - into.size();
  into.append(block, std::min(static_cast<size_t>(n), room));
  return n > 0;
}

}  // namespace

Result<std::unique_ptr<SupervisedProcess>> SupervisedProcess::Start(const std::string& command) {
  Pipe out, err, status;
  if (!out.open() || !err.open() || !status.open()) {
    return Fail(ErrorCode::kMachine, fmt::format("no pipe can be made: {}", std::strerror(errno)));
  }
  std::unique_ptr<SupervisedProcess> made(new SupervisedProcess);
  std::fflush(nullptr);
  const pid_t parent = getpid();
  made->started_at_ = MonotonicNow();
  made->supervisor_ = fork();
  if (made->supervisor_ == 0) {
    Supervise(command, parent, out.write_end, err.write_end, status.write_end);
  }
  if (made->supervisor_ < 0) {
    return Fail(ErrorCode::kMachine,
                fmt::format("no process can be made: {}", std::strerror(errno)));
  }
  made->output_fd_ = std::exchange(out.read_end, -1);
  made->errors_fd_ = std::exchange(err.read_end, -1);
  made->status_fd_ = std::exchange(status.read_end, -1);
  return made;
}

SupervisedProcess::~SupervisedProcess() {
  stop();
  for (const int fd : {output_fd_, errors_fd_, status_fd_}) {
    if (fd >= 0) close(fd);
  }
}

bool SupervisedProcess::wait(TimeNs until) {
  // All three ends close when the supervisor and all below it are gone.
  while (output_fd_ >= 0 || errors_fd_ >= 0 || status_fd_ >= 0) {
    pollfd watched[] = {{output_fd_, POLLIN, 0}, {errors_fd_, POLLIN, 0}, {status_fd_, POLLIN, 0}};
    const int64_t left = std::max<int64_t>((until - MonotonicNow()).ns, 0);
    const timespec at_most{left / 1'000'000'000, left % 1'000'000'000};
    if (ppoll(watched, 3, &at_most, nullptr) <= 0) {
      if (left == 0) return false;
      continue;
    }
    const auto drop = [](int& fd) { close(std::exchange(fd, -1)); };
    if (watched[0].revents != 0 && !Take(output_fd_, output_)) drop(output_fd_);
    if (watched[1].revents != 0 && !Take(errors_fd_, errors_)) drop(errors_fd_);
    if (watched[2].revents == 0) continue;
    int status = 0;
    if (read(status_fd_, &status, sizeof status) == sizeof status) {
      ended_at_ = MonotonicNow();
      exit_code_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    } else {
      drop(status_fd_);
    }
  }
  if (!ended_) waitpid(supervisor_, nullptr, 0);
  ended_ = true;
  return true;
}

void SupervisedProcess::stop() {
  if (!ended_ && supervisor_ > 0) {
    kill(supervisor_, SIGTERM);
    wait(kNever);
  }
}

}  // namespace farspan::testbed
