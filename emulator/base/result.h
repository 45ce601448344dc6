// Result<T>: a value, or an operating error that a person can act on.
#pragma once

#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>

namespace farspan {

// The process exit codes follow from these: kInvalid -> 2, kMachine -> 3.
enum class ErrorCode {
  kInvalid,   // bad usage or configuration: the person must change what was asked
  kMachine,   // the machine lacks something: memory, permission, a device
  kConflict,  // refused now, because of the state of a running link
  kNotFound,  // no such link, file, site
  kIo,        // reading, writing, a peer that does not answer
};

struct Error {
  ErrorCode code = ErrorCode::kInvalid;
  std::string message;  // what is wrong, what was expected, how to mend it
  std::string context;  // where: "lab.toml:12:3", "link chi-nyc", empty if nowhere special

  std::string text() const { return context.empty() ? message : context + ": " + message; }
};

template <typename T>
using Result = tl::expected<T, Error>;

inline tl::unexpected<Error> Fail(ErrorCode code, std::string message, std::string context = {}) {
  return tl::unexpected<Error>(Error{code, std::move(message), std::move(context)});
}

}  // namespace farspan
