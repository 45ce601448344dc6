// LinkClient: asks a running emulator over its HTTP interface (emulator/control/server.h).
#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "emulator/base/result.h"

namespace httplib {
class Client;
}

namespace farspan {

class LinkClient {
 public:
  // `address` as in emulator/control/address.h; `token_file` may be empty.
  static Result<LinkClient> Open(const std::string& address, const std::string& token_file);
  LinkClient(LinkClient&&) noexcept;
  ~LinkClient();

  Result<nlohmann::ordered_json> get(const std::string& path);
  // `method` is POST, PATCH or DELETE.
  Result<nlohmann::ordered_json> send(const std::string& method, const std::string& path,
                                      const nlohmann::ordered_json& body);

 private:
  LinkClient(std::unique_ptr<httplib::Client> http, std::string address);
  Result<nlohmann::ordered_json> ask(const std::string& method, const std::string& path,
                                     const std::string& body);

  std::unique_ptr<httplib::Client> http_;
  std::string address_;
};

// Percent-encoded, as a part of a path.
std::string Encoded(const std::string& name);
// "/api/v1/links/NAME", NAME encoded.
std::string LinkPath(const std::string& name);

}  // namespace farspan
