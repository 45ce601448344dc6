// CRC32C, a warp to a packet: the packet is taken as if zeros stood in front, so that it fills
// whole rows of 512 bytes; each lane sums up the four words of its 16 bytes over the rows by
// Horner's rule.
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/operations.h"
#include "kernels/math/crc32c.h"

namespace farspan::kernels {
namespace {

constexpr uint32_t kThreads = 1024;
constexpr uint32_t kRow = 32 * 16;

// What does not depend on a packet's bytes is worked out on the host.
struct Packets {
  fsk_packets item;
  uint32_t start;       // 0xffffffff · x^(8 packet_bytes)
  uint32_t last_start;  // of the last packet
};

struct CrcCall {
  uint32_t next_row;   // x^(8 · 512)
  uint32_t next_word;  // x^32
};

using CrcBatch = Batch<Packets, CrcCall>;

__device__ void BuildTables(uint32_t factor, uint32_t (&of_byte)[4][256]) {
  for (uint32_t i = threadIdx.x; i < 1024; i += blockDim.x) {
    of_byte[i / 256][i % 256] = CrcProduct((i % 256) << 8 * (i / 256), factor);
  }
}

__global__ void __launch_bounds__(kThreads, 1) CrcKernel(const __grid_constant__ CrcBatch batch) {
  __shared__ CrcTables next_row;
  __shared__ CrcTables next_word;
  BuildTables(batch.call.next_row, next_row.of_byte);
  BuildTables(batch.call.next_word, next_word.of_byte);
  __syncthreads();
  const uint32_t lane = threadIdx.x % 32;
  const uint32_t lane_factor = CrcPower(128 * (31 - lane));
  const uint32_t warps = gridDim.x * (kThreads / 32);
  for (uint64_t next = blockIdx.x * (kThreads / 32) + threadIdx.x / 32; next < batch.tiles();
       next += warps) {
    uint64_t packet = next;
    const Packets& packets = batch.item[batch.find(packet)];
    const bool last = packet + 1 == packets.item.packets;
    const uint32_t bytes = last ? packets.item.last_bytes : packets.item.packet_bytes;
    const uint8_t* begin = packets.item.data + packet * packets.item.stride;
    const uint8_t* end = begin + bytes;
    const uint32_t rows = (bytes + kRow - 1) / kRow;
    const uint8_t* at = end - static_cast<uint64_t>(rows) * kRow + lane * 16;
    Words4 sum{};
    for (uint32_t row = 0; row < rows; ++row, at += kRow) {
      const Words4 in = Load16(at, begin, end);
#pragma unroll
      for (uint32_t w = 0; w < 4; ++w) sum.word[w] = CrcTimes(next_row, sum.word[w]) ^ in.word[w];
    }
    uint32_t of_lane = 0;
#pragma unroll
    for (uint32_t w = 0; w < 4; ++w) of_lane = CrcTimes(next_word, of_lane ^ sum.word[w]);
    uint32_t crc = CrcProduct(of_lane, lane_factor);
#pragma unroll
    for (uint32_t distance = 16; distance > 0; distance /= 2) {
      crc ^= __shfl_xor_sync(0xffffffff, crc, distance);
    }
    if (lane == 0) packets.item.crcs[packet] = ~(crc ^ (last ? packets.last_start : packets.start));
  }
}

}  // namespace

fsk_status CudaCrc32c(const fsk_exec& exec, const fsk_packets* items, size_t count) {
  const CrcCall call{CrcPower(8 * kRow), CrcPower(32)};
  const auto start = [](uint32_t bytes) {
    return CrcProduct(0xffffffff, CrcPower(8 * uint64_t{bytes}));
  };
  return InBatches<Packets>(
      call, count, count,
      [&](size_t& next) {
        const fsk_packets& item = items[next++];
        return Packets{item, start(item.packet_bytes), start(item.last_bytes)};
      },
      [](const Packets& packets) { return packets.item.packets; },
      [&](const auto& batch) {
        const uint64_t blocks = (batch.tiles() + kThreads / 32 - 1) / (kThreads / 32);
        CrcKernel<<<BlocksFor(blocks, exec), kThreads, 0, StreamOf(exec)>>>(batch);
      });
}

}  // namespace farspan::kernels
