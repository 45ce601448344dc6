// XOR and Reed-Solomon. XOR is memory-bound. Reed-Solomon multiplies four bytes at once by three
// byte permutations (math/lookup.h); eight parity rows share the loads and the selectors of an
// input.
#include <cstring>

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/operations.h"

namespace farspan::kernels {
namespace {

__device__ const Galois device_field = Galois();

// Stripes of one shape and one loss, each a step from the last. No memory is large enough for a run
// to have 2^32 tiles.
struct Run {
  static constexpr uint32_t kMost = 1 << 20;
  fsk_stripe stripe;
  int64_t data_step;
  int64_t parity_step;
  uint32_t count;
};

struct ParityCall {
  fsk_parity_code code;
  bool decode;
  Combination* plans;  // decoding: one for each item; making parity: one
};

using ParityBatch = Batch<Run, ParityCall>;

bool SameShape(const fsk_stripe& a, const fsk_stripe& b, bool decode) {
  return a.data_stride == b.data_stride && a.parity_stride == b.parity_stride &&
         a.symbol_bytes == b.symbol_bytes && a.last_bytes == b.last_bytes &&
         a.data_symbols == b.data_symbols &&
         (!decode || std::memcmp(a.lost, b.lost, sizeof a.lost) == 0);
}

Run NextRun(const fsk_stripe* stripes, size_t count, bool decode, size_t& next) {
  Run run{stripes[next], 0, 0, 1};
  for (++next; next < count && SameShape(stripes[next - 1], stripes[next], decode); ++next) {
    const int64_t data_step = stripes[next].data - stripes[next - 1].data;
    const int64_t parity_step = stripes[next].parity - stripes[next - 1].parity;
    const bool in_step = data_step == run.data_step && parity_step == run.parity_step;
    if (run.count == Run::kMost || (run.count > 1 && !in_step)) break;
    run.data_step = data_step;
    run.parity_step = parity_step;
    ++run.count;
  }
  return run;
}

uint32_t LostData(const fsk_stripe& stripe) {
  uint32_t lost = 0;
  for (uint32_t i = 0; i < stripe.data_symbols; ++i) lost += IsLost(stripe.lost, i);
  return lost;
}

// A symbol of a stripe: zeros from `end` on.
struct Symbol {
  uint8_t* begin;
  uint8_t* end;
};

__device__ __forceinline__ Symbol SymbolOf(const Run& run, uint32_t stripe, uint32_t k,
                                           uint32_t symbol) {
  const fsk_stripe& s = run.stripe;
  const bool parity = symbol >= k;
  uint8_t* first = parity ? s.parity + int64_t{stripe} * run.parity_step
                          : s.data + int64_t{stripe} * run.data_step;
  first += parity ? (symbol - k) * s.parity_stride : symbol * s.data_stride;
  return {first, first + (symbol + 1 == s.data_symbols ? s.last_bytes : s.symbol_bytes)};
}

__device__ __forceinline__ Words4 operator^(const Words4& a, const Words4& b) {
  return {
      {a.word[0] ^ b.word[0], a.word[1] ^ b.word[1], a.word[2] ^ b.word[2], a.word[3] ^ b.word[3]}};
}

// --- XOR: a tile is a warp's 512 bytes of one output symbol.

constexpr uint32_t kXorThreads = 1024;
constexpr uint32_t kXorTile = 32 * 16;

__host__ __device__ uint32_t XorChunks(const fsk_stripe& stripe) {
  return (static_cast<uint32_t>(stripe.symbol_bytes) + kXorTile - 1) / kXorTile;
}

// The index-th lost data symbol.
__device__ uint32_t LostSymbol(const fsk_stripe& stripe, uint32_t index) {
  uint32_t word = 0;
  for (; index >= static_cast<uint32_t>(__popc(stripe.lost[word])); ++word) {
    index -= __popc(stripe.lost[word]);
  }
  uint32_t bits = stripe.lost[word];
  for (; index > 0; --index) bits &= bits - 1;
  return 32 * word + __ffs(static_cast<int>(bits)) - 1;
}

__global__ void __launch_bounds__(kXorThreads, 1)
    XorKernel(const __grid_constant__ ParityBatch batch) {
  const uint32_t k = batch.call.code.k;
  const uint32_t m = batch.call.code.m;
  const uint32_t warps = gridDim.x * (kXorThreads / 32);
  for (uint64_t next = blockIdx.x * (kXorThreads / 32) + threadIdx.x / 32; next < batch.tiles();
       next += warps) {
    uint64_t in_item = next;
    const Run& run = batch.item[batch.find(in_item)];
    const auto tile = static_cast<uint32_t>(in_item);
    const uint32_t chunks = XorChunks(run.stripe);
    const uint32_t offset = tile % chunks * kXorTile + threadIdx.x % 32 * 16;
    const uint32_t stripe = tile / chunks % run.count;
    const uint32_t index = tile / chunks / run.count;
    const uint32_t symbol = batch.call.decode ? LostSymbol(run.stripe, index) : k + index;
    const uint32_t set = symbol < k ? symbol % m : symbol - k;
    if (offset >= run.stripe.symbol_bytes) continue;
    Words4 sum{};
    if (symbol < k) {
      const Symbol parity = SymbolOf(run, stripe, k, k + set);
      sum = Load16(parity.begin + offset, parity.begin, parity.end);
    }
#pragma unroll 4
    for (uint32_t i = set; i < run.stripe.data_symbols; i += m) {
      if (i == symbol) continue;
      const Symbol in = SymbolOf(run, stripe, k, i);
      sum = sum ^ Load16(in.begin + offset, in.begin, in.end);
    }
    const Symbol out = SymbolOf(run, stripe, k, symbol);
    Store16(sum, out.begin + offset, out.end);
  }
}

// --- Reed-Solomon: a tile is a team's 4096 bytes of up to eight output symbols of one stripe.

constexpr uint32_t kTeam = 256;
constexpr uint32_t kTeams = 2;  // to a block: each goes its own way, with a barrier of its own
constexpr uint32_t kRows = 8;
constexpr uint32_t kRsTile = kTeam * 16;
constexpr uint32_t kPlanThreads = 128;

__host__ __device__ uint32_t RsChunks(const fsk_stripe& stripe) {
  return (static_cast<uint32_t>(stripe.symbol_bytes) + kRsTile - 1) / kRsTile;
}

// A block makes the plans of every gridDim-th item.
__global__ void __launch_bounds__(kPlanThreads)
    PlanKernel(const __grid_constant__ ParityBatch batch, uint32_t plans) {
  __shared__ Roles roles;
  __shared__ uint8_t gain_in[kDataSymbolsMax];
  __shared__ uint8_t gain_out[kParitySymbolsMax];
  const fsk_parity_code& code = batch.call.code;
  const uint32_t thread = threadIdx.x;
  for (uint32_t item = blockIdx.x; item < plans; item += gridDim.x) {
    const fsk_stripe& stripe = batch.item[item].stripe;
    Combination& plan = batch.call.plans[item];
    if (thread == 0) {
      roles = batch.call.decode
                  ? AssignRoles(code.k, code.first, code.m, stripe.data_symbols, stripe.lost, plan)
                  : AssignRoles(code.k, code.first, code.m, code.k, nullptr, plan);
    }
    __syncthreads();
    if (thread < roles.inputs) {
      gain_in[thread] = static_cast<uint8_t>(LogGain(device_field, roles, roles.input[thread]));
    }
    if (thread < roles.rows) {
      gain_out[thread] = static_cast<uint8_t>(LogGain(device_field, roles, roles.output[thread]));
    }
    __syncthreads();
    for (uint32_t i = thread; i < roles.rows * roles.inputs; i += kPlanThreads) {
      const uint32_t row = i / roles.inputs;
      const uint32_t column = i % roles.inputs;
      plan.coefficient[i] =
          Coefficient(device_field, roles, row, column, gain_out[row], gain_in[column]);
    }
    __syncthreads();
  }
}

// The product tables of eight rows, and where the inputs come from.
struct TeamTables {
  uint4 low_and_middle[kDataSymbolsMax * kRows];
  uint32_t high[kDataSymbolsMax * kRows];
  uint8_t input[kDataSymbolsMax];
};

__device__ __forceinline__ void TeamBarrier(uint32_t team) {
  asm volatile("bar.sync %0, %1;" ::"r"(team + 1), "r"(kTeam) : "memory");
}

__device__ void BuildTables(const Combination& plan, uint32_t first_row, uint32_t rows,
                            uint32_t inputs, uint32_t thread, TeamTables& tables) {
  for (uint32_t i = thread; i < inputs * kRows; i += kTeam) {
    const uint32_t row = i % kRows;
    const uint32_t column = i / kRows;
    if (row >= rows) continue;
    const ProductTable t =
        MakeProductTable(plan.coefficient[(first_row + row) * plan.inputs + column]);
    tables.low_and_middle[i] = make_uint4(t.low[0], t.low[1], t.middle[0], t.middle[1]);
    tables.high[i] = t.high;
  }
  for (uint32_t i = thread; i < inputs; i += kTeam) tables.input[i] = plan.input[i];
}

__device__ __forceinline__ void AddProducts(const Words4& in, const TeamTables& tables,
                                            uint32_t column, uint32_t rows, Words4 (&sum)[kRows]) {
  Selectors bytes[4];
#pragma unroll
  for (uint32_t w = 0; w < 4; ++w) bytes[w] = SelectorsOf(in.word[w]);
#pragma unroll
  for (uint32_t r = 0; r < kRows; ++r) {
    if (r >= rows) break;
    const uint4 t = tables.low_and_middle[column * kRows + r];
    const ProductTable table{{t.x, t.y}, {t.z, t.w}, tables.high[column * kRows + r]};
#pragma unroll
    for (uint32_t w = 0; w < 4; ++w) sum[r].word[w] ^= Product(table, bytes[w]);
  }
}

__global__ void __launch_bounds__(kTeam* kTeams, 1)
    RsKernel(const __grid_constant__ ParityBatch batch) {
  __shared__ TeamTables all_tables[kTeams];
  const uint32_t team = threadIdx.x / kTeam;
  const uint32_t thread = threadIdx.x % kTeam;
  const uint32_t k = batch.call.code.k;
  TeamTables& tables = all_tables[team];
  const Combination* built_plan = nullptr;
  uint32_t built_row = 0;
  for (uint64_t next = blockIdx.x * kTeams + team; next < batch.tiles();
       next += gridDim.x * kTeams) {
    uint64_t in_item = next;
    const uint32_t index = batch.find(in_item);
    const auto tile = static_cast<uint32_t>(in_item);
    const Run& run = batch.item[index];
    const Combination& plan = batch.call.plans[batch.call.decode ? index : 0];
    const uint32_t inputs = run.stripe.data_symbols;  // others of a shortened code are zeros
    const uint32_t chunks = RsChunks(run.stripe);
    const uint32_t offset = tile % chunks * kRsTile + thread * 16;
    const uint32_t stripe = tile / chunks % run.count;
    const uint32_t first_row = tile / chunks / run.count * kRows;  // the slowest: tables last long
    const uint32_t rows = min(plan.rows - first_row, kRows);
    if (&plan != built_plan || first_row != built_row) {
      TeamBarrier(team);
      BuildTables(plan, first_row, rows, batch.call.decode ? inputs : k, thread, tables);
      TeamBarrier(team);
      built_plan = &plan;
      built_row = first_row;
    }
    if (offset >= run.stripe.symbol_bytes) continue;
    const auto load = [&](uint32_t column) {
      const Symbol in = SymbolOf(run, stripe, k, tables.input[column]);
      return Load16(in.begin + offset, in.begin, in.end);
    };
    Words4 sum[kRows] = {};
    Words4 ahead = load(0);
    Words4 far_ahead = inputs > 1 ? load(1) : Words4{};
    for (uint32_t column = 0; column < inputs; ++column) {
      const Words4 in = ahead;
      ahead = far_ahead;
      if (column + 2 < inputs) far_ahead = load(column + 2);
      AddProducts(in, tables, column, rows, sum);
    }
#pragma unroll
    for (uint32_t r = 0; r < kRows; ++r) {
      if (r >= rows) break;
      const Symbol out = SymbolOf(run, stripe, k, plan.output[first_row + r]);
      Store16(sum[r], out.begin + offset, out.end);
    }
  }
}

}  // namespace

size_t CudaParityWorkspace(const fsk_parity_code& code, size_t count) {
  return code.kind == FSK_RS && count > 1 ? count * sizeof(Combination) : sizeof(Combination);
}

fsk_status CudaParity(const fsk_exec& exec, const fsk_parity_code& code, bool decode,
                      const fsk_stripe* stripes, size_t count) {
  const ParityCall call{code, decode, static_cast<Combination*>(exec.workspace)};
  const auto outputs = [&](const Run& run) { return decode ? LostData(run.stripe) : code.m; };
  const auto next_run = [&](size_t& next) { return NextRun(stripes, count, decode, next); };
  if (code.kind == FSK_XOR) {
    return InBatches<Run>(
        call, count, count, next_run,
        [&](const Run& run) { return uint64_t{outputs(run)} * XorChunks(run.stripe) * run.count; },
        [&](const auto& batch) {
          const uint64_t blocks = (batch.tiles() + kXorThreads / 32 - 1) / (kXorThreads / 32);
          XorKernel<<<BlocksFor(blocks, exec), kXorThreads, 0, StreamOf(exec)>>>(batch);
        });
  }
  bool planned = false;
  const size_t most = decode ? exec.workspace_bytes / sizeof(Combination) : count;
  return InBatches<Run>(
      call, count, most, next_run,
      [&](const Run& run) {
        return uint64_t{(outputs(run) + kRows - 1) / kRows} * RsChunks(run.stripe) * run.count;
      },
      [&](const auto& batch) {
        if (decode || !planned) {
          const uint32_t plans = decode ? batch.items : 1;
          PlanKernel<<<BlocksFor(plans, exec), kPlanThreads, 0, StreamOf(exec)>>>(batch, plans);
          planned = true;
        }
        const uint64_t blocks = (batch.tiles() + kTeams - 1) / kTeams;
        RsKernel<<<BlocksFor(blocks, exec), kTeam * kTeams, 0, StreamOf(exec)>>>(batch);
      });
}

}  // namespace farspan::kernels
