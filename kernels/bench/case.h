// The operations as farspan-kernels checks and times them.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "kernels/bench/device.h"

namespace farspan::kernels::bench {

struct Shape {
  uint64_t bytes;             // of payload, in all
  uint32_t items = 1;         // in one call, of unlike sizes if there are several
  uint32_t displacement = 0;  // of every buffer from good alignment, in elements
};

struct Outcome {
  bool exact = true;           // bit for bit what the reference gives
  double relative_error = -1;  // of a quantisation: ‖decoded - values‖ / ‖values‖; -1: none
};

class Case {
 public:
  virtual ~Case() = default;
  virtual std::string name() const = 0;
  // Makes buffers and random contents; payload() and moved() hold from then on.
  virtual void prepare(Device& device, const Shape& shape) = 0;
  virtual fsk_status run(const fsk_exec& exec) = 0;
  // Compares what run() left on the device with the reference: the baseline's scalar code.
  virtual Outcome verify(Device& device) = 0;
  uint64_t payload() const { return payload_; }  // values, data or packets: bytes
  uint64_t moved() const { return moved_; }      // bytes read and written

 protected:
  uint64_t payload_ = 0;
  uint64_t moved_ = 0;
};

std::vector<std::unique_ptr<Case>> ElementCases();  // quantise, dequantise, accumulate, reduce
std::vector<std::unique_ptr<Case>> PacketCases();   // parity and CRC32C

// `bytes` of random octets, made from `seed`; floats as they come, unless they are asked for.
std::vector<uint8_t> RandomBytes(uint64_t bytes, uint64_t seed);
// Normally distributed values of `type`, of which one in about 5,000 is special if asked for.
std::vector<uint8_t> RandomValues(fsk_type type, uint64_t elements, uint64_t seed, bool special);
// Sizes that add up to `total`, unlike each other if there are several.
std::vector<uint64_t> Split(uint64_t total, uint32_t parts);

}  // namespace farspan::kernels::bench
