#include "kernels/cpu/parity.h"

#include <algorithm>
#include <cstring>

#include "kernels/cpu/vector_ops.h"

#ifdef FARSPAN_HAS_ISAL
#include <isa-l/erasure_code.h>
#include <isa-l/raid.h>
#endif

namespace farspan::kernels {
namespace {

constexpr Galois kField;
constexpr uint8_t kZeros[ParityWorkspace::kScratch] = {};

uint8_t* SymbolOf(const fsk_parity_code& code, const fsk_stripe& stripe, uint32_t symbol) {
  return symbol < code.k ? stripe.data + symbol * stripe.data_stride
                         : stripe.parity + (symbol - code.k) * stripe.parity_stride;
}

#ifdef FARSPAN_HAS_ISAL
void MakeTables(const Combination& plan, uint8_t* tables) {
  ec_init_tables(static_cast<int>(plan.inputs), static_cast<int>(plan.rows),
                 const_cast<uint8_t*>(plan.coefficient), tables);
}

void Combine(const Combination& plan, const uint8_t* tables, const uint8_t* const* in,
             uint8_t* const* out, uint64_t bytes) {
  // The library's arguments lack const; it writes to `out` alone.
  ec_encode_data(static_cast<int>(bytes), static_cast<int>(plan.inputs),
                 static_cast<int>(plan.rows), const_cast<uint8_t*>(tables),
                 const_cast<uint8_t**>(in), const_cast<uint8_t**>(out));
}
#else
// As ISA-L's: 16 products of the low half of a byte, then 16 of the high half.
void MakeTables(const Combination& plan, uint8_t* tables) {
  for (uint32_t i = 0; i < plan.rows * plan.inputs; ++i) {
    for (uint32_t half = 0; half < 16; ++half) {
      tables[32 * i + half] = GaloisProduct(kField, plan.coefficient[i], half);
      tables[32 * i + 16 + half] = GaloisProduct(kField, plan.coefficient[i], half << 4);
    }
  }
}

void Combine(const Combination& plan, const uint8_t* tables, const uint8_t* const* in,
             uint8_t* const* out, uint64_t bytes) {
  for (uint32_t row = 0; row < plan.rows; ++row) {
    std::memset(out[row], 0, bytes);
    for (uint32_t column = 0; column < plan.inputs; ++column) {
      const uint8_t* table = tables + 32 * (row * plan.inputs + column);
      const uint8_t* source = in[column];
      for (uint64_t b = 0; b < bytes; ++b) {
        out[row][b] ^= table[source[b] & 15] ^ table[16 + (source[b] >> 4)];
      }
    }
  }
}
#endif

// The plan on bytes [from, from + bytes) of all symbols. `missing` is a data symbol that has none
// there: zeros stand for it, and the scratch takes what would be written to it.
void CombineRange(const fsk_parity_code& code, const fsk_stripe& stripe, uint64_t from,
                  uint64_t bytes, uint32_t missing, ParityWorkspace& workspace) {
  const Combination& plan = workspace.plan;
  const uint8_t* in[kDataSymbolsMax];
  uint8_t* out[kParitySymbolsMax];
  for (uint32_t i = 0; i < plan.inputs; ++i) {
    const bool here = plan.input[i] != missing;
    in[i] = here ? SymbolOf(code, stripe, plan.input[i]) + from : kZeros;
  }
  for (uint32_t i = 0; i < plan.rows; ++i) {
    const bool here = plan.output[i] != missing;
    out[i] = here ? SymbolOf(code, stripe, plan.output[i]) + from : workspace.scratch;
  }
  Combine(plan, workspace.tables, in, out, bytes);
}

void ReedSolomon(const fsk_parity_code& code, const fsk_stripe& stripe,
                 ParityWorkspace& workspace) {
  if (workspace.plan.rows == 0) return;
  CombineRange(code, stripe, 0, stripe.last_bytes, kSymbolsMax, workspace);
  for (uint64_t at = stripe.last_bytes; at < stripe.symbol_bytes; at += ParityWorkspace::kScratch) {
    const uint64_t bytes = std::min(stripe.symbol_bytes - at, ParityWorkspace::kScratch);
    CombineRange(code, stripe, at, bytes, stripe.data_symbols - 1, workspace);
  }
}

// vectors: the sources, then the destination.
void XorVectors(uint8_t** vectors, uint32_t sources, uint64_t bytes) {
#ifdef FARSPAN_HAS_ISAL
  uintptr_t bits = 0;
  for (uint32_t i = 0; i <= sources; ++i) bits |= reinterpret_cast<uintptr_t>(vectors[i]);
  if (bits % 32 == 0 && sources >= 2) {
    xor_gen(static_cast<int>(sources + 1), static_cast<int>(bytes),
            reinterpret_cast<void**>(vectors));
    return;
  }
#endif
  BestVectorOps().xor_all(vectors, sources, vectors[sources], bytes);
}

// One symbol of a set of the XOR code is the xor of the others.
void XorOfSet(const fsk_parity_code& code, const fsk_stripe& stripe, uint32_t symbol) {
  const uint32_t short_symbol = stripe.data_symbols - 1;
  const uint32_t set = symbol < code.k ? symbol % code.m : symbol - code.k;
  uint8_t* vectors[kDataSymbolsMax + 1];
  const auto xor_range = [&](uint64_t from, uint64_t bytes, uint32_t members) {
    uint32_t sources = 0;
    for (uint32_t i = set; i < members; i += code.m) {
      if (i != symbol) vectors[sources++] = SymbolOf(code, stripe, i) + from;
    }
    if (symbol < code.k) vectors[sources++] = SymbolOf(code, stripe, code.k + set) + from;
    vectors[sources] = SymbolOf(code, stripe, symbol) + from;
    if (sources == 0) {
      std::memset(vectors[0], 0, bytes);
    } else if (bytes > 0) {
      XorVectors(vectors, sources, bytes);
    }
  };
  const bool has_short = short_symbol % code.m == set;
  const uint64_t whole = has_short ? stripe.last_bytes : stripe.symbol_bytes;
  xor_range(0, whole, stripe.data_symbols);
  if (symbol != short_symbol) xor_range(whole, stripe.symbol_bytes - whole, short_symbol);
}

void Xor(const fsk_parity_code& code, bool decode, const fsk_stripe& stripe) {
  if (!decode) {
    for (uint32_t r = 0; r < code.m; ++r) XorOfSet(code, stripe, code.k + r);
    return;
  }
  for (uint32_t i = 0; i < stripe.data_symbols; ++i) {
    if (IsLost(stripe.lost, i)) XorOfSet(code, stripe, i);
  }
}

}  // namespace

void PlanParity(const fsk_parity_code& code, uint32_t data_symbols, const uint32_t* lost,
                Combination& plan) {
  const Roles roles = AssignRoles(code.k, code.first, code.m, data_symbols, lost, plan);
  uint8_t gain_in[kDataSymbolsMax];
  for (uint32_t i = 0; i < roles.inputs; ++i) {
    gain_in[i] = static_cast<uint8_t>(LogGain(kField, roles, plan.input[i]));
  }
  for (uint32_t row = 0; row < roles.rows; ++row) {
    const uint32_t gain_out = LogGain(kField, roles, plan.output[row]);
    for (uint32_t i = 0; i < roles.inputs; ++i) {
      plan.coefficient[row * roles.inputs + i] =
          Coefficient(kField, roles, row, i, gain_out, gain_in[i]);
    }
  }
}

void RunParity(const fsk_parity_code& code, bool decode, const fsk_stripe* stripes, size_t count,
               ParityWorkspace& workspace) {
  uint32_t planned = 0;  // data symbols that the plan at hand makes parity of
  for (size_t i = 0; i < count; ++i) {
    const fsk_stripe& stripe = stripes[i];
    if (stripe.symbol_bytes == 0) continue;
    if (code.kind == FSK_XOR) {
      Xor(code, decode, stripe);
      continue;
    }
    if (decode || planned != stripe.data_symbols) {
      PlanParity(code, stripe.data_symbols, decode ? stripe.lost : nullptr, workspace.plan);
      MakeTables(workspace.plan, workspace.tables);
      planned = stripe.data_symbols;
    }
    ReedSolomon(code, stripe, workspace);
  }
}

}  // namespace farspan::kernels
