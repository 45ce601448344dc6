#include "emulator/control/guard.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

namespace farspan::control {
namespace {

std::string Lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

// Takes as long for every text of the token's length.
bool SameSecret(std::string_view given, std::string_view secret) {
  if (given.size() != secret.size()) return false;
  unsigned difference = 0;
  for (size_t i = 0; i < secret.size(); ++i) {
    difference |= static_cast<unsigned char>(given[i]) ^ static_cast<unsigned char>(secret[i]);
  }
  return difference == 0;
}

// "Example.org:80" -> "example.org", "[::1]:80" -> "[::1]"
std::string HostName(const std::string& host) {
  const size_t bracket = host.find(']');
  const size_t colon = host.find(':', bracket == std::string::npos ? 0 : bracket);
  return Lower(host.substr(0, colon));
}

bool IsLoopbackName(const std::string& name) {
  if (name == "localhost") return true;
  const Result<Address> address = ParseAddress(name + ":0");
  return address && address->is_loopback();
}

bool IsJson(const std::string& content_type) {
  std::string type = Lower(content_type.substr(0, content_type.find(';')));
  type.erase(type.find_last_not_of(" \t") + 1);
  return type == "application/json";
}

}  // namespace

std::optional<Refusal> Guard::refuses(const httplib::Request& request) const {
  if (auto refusal = refuses_sender(request)) return refusal;
  if (request.path.size() > kPathBytesMax) {
    return Refusal{414, "path_too_long", fmt::format("a path has at most {} bytes", kPathBytesMax)};
  }
  if (request.method == "GET" || request.method == "HEAD") return std::nullopt;
  return refuses_change(request);
}

std::optional<Refusal> Guard::refuses_sender(const httplib::Request& request) const {
  constexpr std::string_view kBearer = "Bearer ";
  const std::string authorization = request.get_header_value("Authorization");
  const bool bearer = authorization.starts_with(kBearer);
  if (!token_.empty() &&
      !(bearer && SameSecret(std::string_view(authorization).substr(kBearer.size()), token_))) {
    return Refusal{401, "unauthorized", "expected the header \"Authorization: Bearer TOKEN\""};
  }
  if (request.get_header_value_count("Host") != 1) {
    return Refusal{400, "bad_host", "expected exactly one Host header"};
  }
  // A rebound name reaches a Unix socket never, and a server with a token in vain.
  const std::string host = request.get_header_value("Host");
  if (token_.empty() && !address_.is_unix() && !IsLoopbackName(HostName(host))) {
    return Refusal{403, "bad_host",
                   "the Host header must name loopback: 127.0.0.1, [::1] or localhost"};
  }
  if (request.has_header("Origin")) {
    const std::string origin = Lower(request.get_header_value("Origin"));
    if (origin != "http://" + Lower(host) && origin != "https://" + Lower(host)) {
      return Refusal{403, "foreign_origin", "requests from pages of other origins are refused"};
    }
  }
  return std::nullopt;
}

std::optional<Refusal> Guard::refuses_change(const httplib::Request& request) {
  if (request.method != "POST" && request.method != "PATCH" && request.method != "DELETE") {
    return Refusal{405, "method_not_allowed", "expected GET, HEAD, POST, PATCH or DELETE"};
  }
  if (!IsJson(request.get_header_value("Content-Type")) || request.has_header("Content-Encoding")) {
    return Refusal{415, "not_json", "changes need \"Content-Type: application/json\""};
  }
  if (request.has_header("Transfer-Encoding")) {
    return Refusal{411, "length_required", "send the body with a Content-Length"};
  }
  const uint64_t length = request.get_header_value<uint64_t>("Content-Length");
  if (length > kBodyBytesMax) {
    return Refusal{413, "body_too_long", fmt::format("a body has at most {} bytes", kBodyBytesMax)};
  }
  return std::nullopt;
}

}  // namespace farspan::control
