// `fixed`: a provisioned rate, whatever the path says. Only fit for a circuit of one's own.
#pragma once

#include "transports/core/congestion.h"

namespace farspan::transport {

ControllerPtr MakeFixed(const ControllerConfig& config);

}  // namespace farspan::transport
