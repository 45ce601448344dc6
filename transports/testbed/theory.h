// What one message must cost on a long lossy link: lower bounds and finite closed forms.
//
// A message of N datagrams leaves back to back at the provisioned rate over a link of constant
// round trip; each datagram, in either direction, is lost independently with probability p.
// *Receiver* times end when the last byte has arrived, *sender* times when the sender knows it;
// the second is one propagation delay later. All times are seconds from the first bit sent.
//
// Sources: selective repeat and erasure coding after SDR-RDMA (SC'25, arXiv 2505.05366, section 4)
// taken per datagram; go-back-N in its finite form: every failed transmission of the datagram that
// is next in order costs one round trip. Not modelled: congestion, time-outs of a lost tail or a
// lost NACK, the NACK's own delay after the loss (one datagram), the CPU's time for coding.
#pragma once

#include <cstdint>

namespace farspan::testbed {

struct MessageOnLink {
  uint64_t datagrams = 1;
  double datagram_s = 0;  // one datagram on the wire, headers and framing included
  double rtt_s = 0;       // propagation only, both ways
  double loss = 0;        // in [0, 1)

  double injection_s() const { return static_cast<double>(datagrams) * datagram_s; }
};

double LosslessReceiver(const MessageOnLink& message);
double LosslessSender(const MessageOnLink& message);

// Mean at the sender.
double GoBackNMean(const MessageOnLink& message);

// Selective repeat: each lost datagram is sent again one round trip after it was sent before.
double SelectiveRepeatCdf(const MessageOnLink& message, double receiver_s);
double SelectiveRepeatMean(const MessageOnLink& message);  // at the receiver
double SelectiveRepeatQuantile(const MessageOnLink& message, double probability);

// CUBIC's mean window in packets where one packet in 1 / loss is lost: the larger one of its own
// and of Reno's with its constants (RFC 9438, 5.1 and 4.3).
double CubicWindow(double rtt_s, double loss);

// P(more than `parity` of `data + parity` symbols are lost): a block that needs a retransmission.
double BlockFailure(int data, int parity, double loss);

// The least parity whose block failure is at most `target`, or `parity_max` + 1 if none is.
int ParityFor(int data, double loss, double target, int parity_max);

}  // namespace farspan::testbed
