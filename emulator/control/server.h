// ControlServer: the one HTTP server of a running emulator: metrics, live link control, certificate
// and a status page, over cpp-httplib.
//
//   GET  /metrics /healthz /api/v1/links /api/v1/links/NAME /api/v1/certificate /
//   PATCH /api/v1/links/NAME · POST /api/v1/links/NAME/{cut,restore} · POST /api/v1/epoch
//
// Who may: on loopback, everyone on this machine; on a Unix socket, its owner; anywhere else (and
// wherever a token file is given) whoever sends `Authorization: Bearer TOKEN`. A web page elsewhere
// may not, though a browser on this machine opened it: the Host header must name loopback (DNS
// rebinding), a foreign Origin is refused, changes need Content-Type: application/json, and no CORS
// header is ever sent. One request per connection; it has `patience` to arrive, and 80 KiB.
// Errors are JSON: {"error":{"code":…,"message":…}}.
//
// Threading: `threads` workers of its own, with all signals blocked; `thread_start` runs first in
// each (the engine unpins them there). Not offered: TLS (put a proxy or an SSH tunnel in front).
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "emulator/base/result.h"
#include "emulator/control/address.h"
#include "emulator/control/engine_control.h"

namespace farspan::control {

struct ServerOptions {
  std::string address{kDefaultAddress};  // see address.h; port 0 takes any free one
  std::string token_file;                // required where the address is not loopback
  int threads = 4;
  std::function<void()> thread_start;
  std::chrono::milliseconds patience{5'000};
};

class ControlServer {
 public:
  // Listens and serves from here on. The engine must outlive the server.
  static Result<std::unique_ptr<ControlServer>> Start(EngineControl& engine,
                                                      const ServerOptions& options);
  // Stops: what is being answered is answered, what is still arriving is broken off.
  ~ControlServer();

  const Address& address() const;  // with the port really bound

 private:
  class Impl;
  explicit ControlServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace farspan::control
