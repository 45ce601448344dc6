// The controllers beside `fixed` (which lives in transports/core): each one file, after its source.
//
//   cubic  RFC 9438 with HyStart++ (RFC 9406); cubic-linux as Linux has it
//   bbr    draft-ietf-ccwg-bbr (version 3 of BBR)
//   swift  Kumar et al., "Swift: delay is simple and effective", SIGCOMM'20, for long paths
//   dcqcn  Zhu et al., "Congestion control for large-scale RDMA deployments", SIGCOMM'15
//
// What each leaves out or does otherwise is said at the head of its file.
#pragma once

#include "transports/core/congestion.h"

namespace farspan::transport {

ControllerPtr MakeCubic(const ControllerConfig& config);
ControllerPtr MakeLinuxCubic(const ControllerConfig& config);
ControllerPtr MakeBbr(const ControllerConfig& config);
ControllerPtr MakeSwift(const ControllerConfig& config);
ControllerPtr MakeDcqcn(const ControllerConfig& config);

// Makes them known to FindController().
void RegisterControllers();

}  // namespace farspan::transport
