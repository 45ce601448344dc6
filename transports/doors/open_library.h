// OpenLibrary: a transport from a shared library, by whichever door the library has.
#pragma once

#include <memory>
#include <string>

#include "transports/core/transport.h"
#include "transports/doors/door_config.h"

namespace farspan::doors {

struct OpenedLibrary {
  std::unique_ptr<transport::Transport> transport;
  std::string door;      // "farspan_transport.h version 1" or "ncclNetPlugin_v8"
  bool is_nccl = false;  // NCCL's API promises less than Transport does
};

// A library that has both doors is opened as Farspan's.
Result<OpenedLibrary> OpenLibrary(const std::string& path, const DoorConfig& config);

}  // namespace farspan::doors
