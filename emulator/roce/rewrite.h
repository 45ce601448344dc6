// What a verdict does to a frame's bytes: congestion marks and payload corruption.
//
// `frame` is the frame's first segment, any bytes; nothing outside it is touched.
#pragma once

#include <cstdint>
#include <span>

namespace farspan::roce {

// Sets CE (RFC 3168) where the IP header says ECN-capable, and mends IPv4's checksum incrementally
// (RFC 1624, equation 3), so that a wrong one stays wrong. RoCEv2's ICRC masks these bits. True if
// the frame carries CE afterwards; what is not ECN-capable is left as it is.
bool SetCe(std::span<uint8_t> frame);

// Flips one bit of the L4 payload, chosen uniformly by `random`; checksums and RoCE's ICRC are left
// stale, headers, RoCE's BTH and Ethernet padding whole: it is the same queue pair that gets it.
// For protocols other than UDP and TCP the payload is what follows the IP headers. False, and
// nothing changed, where the frame has no payload or is not IP.
bool CorruptPayload(std::span<uint8_t> frame, uint64_t random);

}  // namespace farspan::roce
