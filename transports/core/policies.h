// The door for policies that are not Farspan's: a shared library with one function,
//
//   extern "C" void farspan_register_policies(const farspan::transport::PolicyRegistrar&
//   registrar);
//
// which is called once, before the first endpoint is made, and names what the library adds. Names
// must outlive the process's endpoints: literals. This is C++ and not a stable ABI: build the
// library with this farspan's headers, its compiler and its options. transports/examples/scalable
// is one.
#pragma once

#include "transports/core/congestion.h"
#include "transports/core/recovery.h"

namespace farspan::transport {

struct PolicyRegistrar {
  void (*controller)(std::string_view name, ControllerFactory factory) = &RegisterController;
  void (*recovery)(std::string_view name, RecoveryFactory factory) = &RegisterRecovery;
};

}  // namespace farspan::transport
