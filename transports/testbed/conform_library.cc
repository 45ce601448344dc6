#include "transports/testbed/conform_library.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "transports/doors/open_library.h"
#include "transports/drivers/monotonic.h"
#include "transports/testbed/conform.h"

namespace farspan::testbed {
namespace {

constexpr TimeNs kGrace{1'000'000'000};

// What a case's process says, as one text: its kind, then the rest.
constexpr char kPassed = 'P', kFailed = 'F', kCannotOpen = 'E';

std::string Refusal(const Error& error) {
  return fmt::format("{}{}{}", kCannotOpen, static_cast<char>('0' + static_cast<int>(error.code)),
                     error.text());
}

// In a case's process.
std::string OpenOnce(const LibraryConformance& options) {
  const auto opened = doors::OpenLibrary(options.path, options.config);
  if (!opened) return Refusal(opened.error());
  return fmt::format("{}{}{}\n{}", kPassed, opened->is_nccl ? 'n' : 'f', opened->door,
                     opened->transport->properties().name);
}

std::string RunCase(const LibraryConformance& options, size_t index) {
  const auto a = doors::OpenLibrary(options.path, options.config);
  const auto b = doors::OpenLibrary(options.path, options.config);
  if (!a || !b) return kFailed + (a ? b : a).error().text();
  const auto pump = [&] {
    a->transport->progress(a->transport->now());
    b->transport->progress(b->transport->now() + TimeNs{200'000});
  };
  // Until the process ends: the library may have threads that write into its buffers even now.
  static ConformanceCase result;
  result =
      RunConformanceCase({a->transport.get(), b->transport.get(), pump, options.timeout}, index);
  return fmt::format("{}{}", result.passed ? kPassed : kFailed, result.detail);
}

// Reads all that the process says until it closes the pipe. False: it did not by `end`.
bool ReadUntil(int fd, TimeNs end, std::string& said) {
  while (true) {
    const int64_t left_ms = (end - MonotonicNow()).ns / 1'000'000;
    pollfd watched{fd, POLLIN, 0};
    if (left_ms <= 0) return false;
    if (poll(&watched, 1, static_cast<int>(std::min<int64_t>(left_ms, 1000))) <= 0) continue;
    char block[512];
    const ssize_t n = read(fd, block, sizeof block);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return true;
    said.append(block, static_cast<size_t>(n));
  }
}

std::string HowItEnded(int status) {
  if (WIFSIGNALED(status)) {
    return fmt::format("the library ended the process by signal {} ({})", WTERMSIG(status),
                       strsignal(WTERMSIG(status)));
  }
  return fmt::format("the library ended the process, exit code {}", WEXITSTATUS(status));
}

// What `work` says, run in a process of its own; a failure where it says nothing.
Result<std::string> Isolated(const std::function<std::string()>& work, TimeNs limit) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return Fail(ErrorCode::kMachine, "no pipe can be made");
  std::fflush(nullptr);
  const pid_t parent = getpid();
  const pid_t child = fork();
  if (child == 0) {
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    close(ends[0]);
    if (getppid() != parent) _exit(1);
    const std::string said = work();
    const ssize_t written = write(ends[1], said.data(), said.size());
    _exit(written == static_cast<ssize_t>(said.size()) ? 0 : 1);
  }
  close(ends[1]);
  if (child < 0) {
    close(ends[0]);
    return Fail(ErrorCode::kMachine, "no process can be made");
  }
  setpgid(child, child);  // also here: whoever comes first
  std::string said;
  const bool ended = ReadUntil(ends[0], MonotonicNow() + limit, said);
  close(ends[0]);
  kill(-child, SIGKILL);
  int status = 0;
  waitpid(child, &status, 0);
  if (!said.empty()) return said;
  if (!ended) {
    return fmt::format("{}not over after {:.0f} s: a call into the library does not return",
                       kFailed, ToSeconds(limit));
  }
  return std::string(1, kFailed) + HowItEnded(status);
}

Result<LibraryReport> Introduce(const std::string& path, const std::string& said) {
  LibraryReport report;
  report.file = path;
  if (said[0] == kFailed) return Fail(ErrorCode::kIo, said.substr(1), path);
  if (said[0] == kCannotOpen) {
    return Fail(static_cast<ErrorCode>(said[1] - '0'), said.substr(2));
  }
  const size_t line = said.find('\n');
  report.door = said.substr(2, line - 2);
  report.name = said.substr(line + 1);
  return report;
}

}  // namespace

bool LibraryReport::conforms() const {
  return std::none_of(cases.begin(), cases.end(), [](const LibraryCase& one) {
    return one.verdict == LibraryCase::Verdict::kFailed;
  });
}

Result<LibraryReport> RunLibraryConformance(const LibraryConformance& options,
                                            const std::function<void(const LibraryCase&)>& each) {
  const TimeNs limit = options.timeout + kGrace;
  const auto opened = Isolated([&] { return OpenOnce(options); }, limit);
  if (!opened) return tl::unexpected(opened.error());
  auto report = Introduce(options.path, *opened);
  if (!report) return report;
  const bool is_nccl = (*opened)[1] == 'n';
  const auto titles = ConformanceTitles();
  for (size_t i = 0; i < titles.size(); ++i) {
    LibraryCase one{std::string(titles[i].name), LibraryCase::Verdict::kNotAsked, {}};
    if (one.name.find(options.only) == std::string::npos) continue;
    if (!is_nccl || !titles[i].beyond_nccl) {
      const auto said = Isolated([&] { return RunCase(options, i); }, limit);
      if (!said) return tl::unexpected(said.error());
      const bool passed = said->front() == kPassed;
      one.verdict = passed ? LibraryCase::Verdict::kPassed : LibraryCase::Verdict::kFailed;
      one.detail = said->substr(1);
    }
    each(one);
    report->cases.push_back(one);
  }
  if (report->cases.empty()) {
    return Fail(ErrorCode::kInvalid, "no case has '" + options.only + "' in its name", "--only");
  }
  return report;
}

}  // namespace farspan::testbed
