#include "transports/core/congestion.h"

#include "transports/core/fixed.h"
#include "transports/core/registry.h"

namespace farspan::transport {
namespace {

Registry<ControllerFactory>& Controllers() {
  static Registry<ControllerFactory> registry("congestion control", {{"fixed", &MakeFixed}});
  return registry;
}

}  // namespace

void RegisterController(std::string_view name, ControllerFactory factory) {
  Controllers().add(name, factory);
}

Result<ControllerFactory> FindController(std::string_view name) { return Controllers().find(name); }

std::vector<std::string_view> ControllerNames() { return Controllers().names(); }

}  // namespace farspan::transport
