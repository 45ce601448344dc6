// Keeps the kernel from reassembling IPv4 fragments before an af_packet port sees them.
//
// DPDK's net_af_packet (22.11) joins every socket to a fanout group with PACKET_FANOUT_FLAG_DEFRAG
// and has no option against it. A wire that reassembles is none: the fragments of a host's 4,000 B
// datagram came out as one frame above the MTU, and first fragments alone never came out. So this
// program has its own setsockopt(2), which the driver's calls resolve to; it takes that one flag
// out of that one option and is the system call for everything else.
#pragma once

namespace farspan::dpdk {

// Before ports are made. Any thread.
void KeepFragments();

}  // namespace farspan::dpdk
