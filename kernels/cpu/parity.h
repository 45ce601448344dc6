// Parity of one stripe on the CPU: ISA-L where the library was built with it, else by tables.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/kernels.h"
#include "kernels/math/galois.h"

namespace farspan::kernels {

// The workspace of one call: what to combine, its tables, and room for what nobody reads.
struct ParityWorkspace {
  static constexpr uint64_t kScratch = 4096;
  Combination plan;
  uint8_t scratch[kScratch];
  uint8_t tables[1];  // 32 bytes per coefficient follow

  static size_t bytes(const fsk_parity_code& code) {
    return sizeof(ParityWorkspace) + size_t{32} * code.k * code.m;
  }
};

// Fills the plan for Reed-Solomon; `lost` is null to make parity.
void PlanParity(const fsk_parity_code& code, uint32_t data_symbols, const uint32_t* lost,
                Combination& plan);

// Runs over the stripes, whose arguments are good.
void RunParity(const fsk_parity_code& code, bool decode, const fsk_stripe* stripes, size_t count,
               ParityWorkspace& workspace);

}  // namespace farspan::kernels
