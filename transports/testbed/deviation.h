// Deviation: how far a compressed all-reduce is from the exact sum, and whether all ranks have the
// same bits.
//
// Test values are like gradients: sums of four uniform numbers, so nearly normal, and between -2
// and 2, rounded to the element type; the exact sum of what was given is taken in double.
#pragma once

#include <cstdint>
#include <span>

#include "transports/collectives/schedules.h"
#include "transports/testbed/elements.h"
#include "transports/testbed/quantised.h"

namespace farspan::testbed {

// Fills the input of task.rank.
void FillGradients(const collectives::Task& task, Element element, uint64_t seed,
                   std::span<std::byte> input);

struct Deviation {
  double error_squares = 0;  // of output - exact
  double exact_squares = 0;
  uint64_t beyond = 0;  // elements that err by more than quantisation and rounding ever may
};
Deviation DeviationOf(const collectives::Task& task, Compression compression, Element element,
                      uint64_t seed, std::span<const std::byte> output);

// Of the bits: equal outputs have the same.
uint32_t Digest(std::span<const std::byte> output);

}  // namespace farspan::testbed
