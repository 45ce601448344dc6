// SupervisedProcess: a shell command with everything it starts, none of which outlives it.
//
// Between this process and the command stands a supervisor (a child made by fork) that adopts
// whatever the command leaves behind, daemons too (PR_SET_CHILD_SUBREAPER), and kills it when the
// command has ended, when it is told to, or when this process dies. Linux only. Threading: make it
// before any thread is started; one thread calls everything.
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>

#include "emulator/base/result.h"
#include "emulator/base/time.h"

namespace farspan::testbed {

class SupervisedProcess {
 public:
  static Result<std::unique_ptr<SupervisedProcess>> Start(const std::string& command);
  ~SupervisedProcess();
  SupervisedProcess(const SupervisedProcess&) = delete;
  SupervisedProcess& operator=(const SupervisedProcess&) = delete;

  // Takes what the command prints until it has ended (true), or until `until` (false).
  bool wait(TimeNs until);
  // SIGTERM to the command's process group, SIGKILL to all that is left a second later.
  void stop();

  // Once it has ended: as shells say it, 128 + N for signal N.
  int exit_code() const { return exit_code_; }
  TimeNs wall() const { return ended_at_ - started_at_; }
  // Printed so far; what is beyond kOutputMax is thrown away.
  const std::string& output() const { return output_; }
  const std::string& errors() const { return errors_; }

  static constexpr size_t kOutputMax = 4 << 20;

 private:
  SupervisedProcess() = default;

  pid_t supervisor_ = -1;
  int output_fd_ = -1, errors_fd_ = -1, status_fd_ = -1;
  bool ended_ = false;
  int exit_code_ = -1;
  TimeNs started_at_{}, ended_at_{};
  std::string output_, errors_;
};

}  // namespace farspan::testbed
