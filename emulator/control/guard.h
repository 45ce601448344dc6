// Guard: which HTTP requests are served at all, before anything looks at what they ask. See
// server.h for the rules.
#pragma once

#include <httplib.h>

#include <optional>
#include <string>

#include "emulator/control/address.h"

namespace farspan::control {

struct Refusal {
  int status;
  std::string_view code;
  std::string message;
};

class Guard {
 public:
  static constexpr size_t kPathBytesMax = 256;
  static constexpr size_t kBodyBytesMax = 64u << 10;

  Guard(Address address, std::string token)
      : address_(std::move(address)), token_(std::move(token)) {}

  std::optional<Refusal> refuses(const httplib::Request& request) const;

 private:
  std::optional<Refusal> refuses_sender(const httplib::Request& request) const;
  static std::optional<Refusal> refuses_change(const httplib::Request& request);

  const Address address_;
  const std::string token_;  // empty: none is asked for
};

}  // namespace farspan::control
