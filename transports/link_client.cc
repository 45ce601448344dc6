#include "transports/link_client.h"

#include <fmt/format.h>
#include <httplib.h>
#include <sys/socket.h>

#include <cctype>
#include <nlohmann/json.hpp>
#include <utility>

#include "emulator/control/address.h"

namespace farspan {
namespace {

constexpr time_t kPatienceSeconds = 10;

ErrorCode CodeOf(int status) {
  switch (status) {
    case 404:
      return ErrorCode::kNotFound;
    case 409:
      return ErrorCode::kConflict;
    case 503:
      return ErrorCode::kMachine;
    default:
      return status >= 500 ? ErrorCode::kIo : ErrorCode::kInvalid;
  }
}

}  // namespace

Result<LinkClient> LinkClient::Open(const std::string& address, const std::string& token_file) {
  const Result<control::Address> to = control::ParseAddress(address);
  if (!to) return tl::unexpected(to.error());
  auto http = std::make_unique<httplib::Client>(to->is_unix() ? to->path : to->host, to->port);
  if (to->is_unix()) http->set_address_family(AF_UNIX);
  http->set_url_encode(false);
  http->set_connection_timeout(kPatienceSeconds);
  http->set_read_timeout(kPatienceSeconds);
  if (!token_file.empty()) {
    const Result<std::string> token = control::ReadToken(token_file);
    if (!token) return tl::unexpected(token.error());
    http->set_bearer_token_auth(*token);
  }
  return LinkClient(std::move(http), to->text());
}

LinkClient::LinkClient(std::unique_ptr<httplib::Client> http, std::string address)
    : http_(std::move(http)), address_(std::move(address)) {}
LinkClient::LinkClient(LinkClient&&) noexcept = default;
LinkClient::~LinkClient() = default;

Result<nlohmann::ordered_json> LinkClient::get(const std::string& path) {
  return ask("GET", path, "");
}

Result<nlohmann::ordered_json> LinkClient::send(const std::string& method, const std::string& path,
                                                const nlohmann::ordered_json& body) {
  return ask(method, path, body.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
}

Result<nlohmann::ordered_json> LinkClient::ask(const std::string& method, const std::string& path,
                                               const std::string& body) {
  httplib::Request request;
  request.method = method;
  request.path = path;
  request.body = body;
  if (!body.empty()) request.headers.emplace("Content-Type", "application/json");
  const httplib::Result answer = http_->send(request);
  if (!answer) {
    return Fail(ErrorCode::kMachine,
                fmt::format("no emulator answers ({}); start one with `farspan-emulator run`, or "
                            "say where it listens with --http",
                            httplib::to_string(answer.error())),
                address_);
  }
  auto json = nlohmann::ordered_json::parse(answer->body, nullptr, false);
  if (answer->status == 200 && json.is_object()) return json;
  if (json.is_object() && json.contains("error") && json["error"].is_object()) {
    std::string message = json["error"].value("message", "");
    if (answer->status == 401) message += "; give the emulator's token with --token-file";
    return Fail(CodeOf(answer->status), message);
  }
  return Fail(ErrorCode::kIo,
              fmt::format("what answers is no farspan-emulator (HTTP status {})", answer->status),
              address_);
}

std::string Encoded(const std::string& name) {
  std::string path;
  for (const char c : name) {
    const auto byte = static_cast<unsigned char>(c);
    if (std::isalnum(byte) || c == '-' || c == '_' || c == '.') {
      path += c;
    } else {
      path += fmt::format("%{:02X}", byte);
    }
  }
  return path;
}

std::string LinkPath(const std::string& name) { return "/api/v1/links/" + Encoded(name); }

}  // namespace farspan
