// How a batch reaches a kernel: its items travel by value as the kernel's parameter, so that they
// may be forgotten when the call returns, need no device memory, and can be captured in a graph.
//
// A launch has as many tiles as its items have work; blocks are persistent and stride over tiles. A
// block is sized to fill a multiprocessor, so that a cap on multiprocessors is a cap on blocks.
#pragma once

#include <cuda_runtime.h>

#include "kernels/backend.h"
#include "kernels/math/lookup.h"

namespace farspan::kernels {

#if CUDART_VERSION >= 12010
constexpr uint32_t kParameterBytes = 32'000;  // the limit is 32,764 from CUDA 12.1 on
#else
constexpr uint32_t kParameterBytes = 4'000;
#endif

// `Call` is what all items share.
template <typename Item, typename Call>
struct Batch {
  static constexpr uint32_t kItemsMax =
      (kParameterBytes - sizeof(Call) - 32) / (sizeof(Item) + sizeof(uint64_t));
  Call call;
  uint32_t items;
  uint64_t tiles_until[kItemsMax];  // of this item and those before it
  Item item[kItemsMax];

  __host__ __device__ uint64_t tiles() const { return items ? tiles_until[items - 1] : 0; }

  // The item that `tile` belongs to; `tile` becomes its number in that item.
  __device__ uint32_t find(uint64_t& tile) const {
    uint32_t low = 0;
    for (uint32_t high = items - 1; low < high;) {
      const uint32_t middle = (low + high) / 2;
      if (tile < tiles_until[middle]) {
        high = middle;
      } else {
        low = middle + 1;
      }
    }
    if (low > 0) tile -= tiles_until[low - 1];
    return low;
  }
};

fsk_status LaunchStatus();  // of the launch just made
uint32_t BlocksFor(uint64_t tiles, const fsk_exec& exec);

// Cuts `count` arguments into launches of at most `most` items. `make(next)` is the kernel's view
// of argument `next`, which it advances; `tiles_of` its tiles; `launch(batch)` starts the kernel.
template <typename Item, typename Call, typename Make, typename TilesOf, typename Launch>
fsk_status InBatches(const Call& call, size_t count, size_t most, const Make& make,
                     const TilesOf& tiles_of, const Launch& launch) {
  Batch<Item, Call> batch;
  static_assert(sizeof batch <= kParameterBytes);
  batch.call = call;
  most = most < batch.kItemsMax ? most : batch.kItemsMax;
  for (size_t next = 0; next < count;) {
    uint64_t tiles = 0;
    batch.items = 0;
    while (next < count && batch.items < most) {
      const Item item = make(next);
      const uint64_t of_item = tiles_of(item);
      if (of_item == 0) continue;
      tiles += of_item;
      batch.item[batch.items] = item;
      batch.tiles_until[batch.items++] = tiles;
    }
    if (tiles == 0) continue;
    launch(batch);
    if (const fsk_status status = LaunchStatus()) return status;
  }
  return FSK_OK;
}

inline cudaStream_t StreamOf(const fsk_exec& exec) {
  return static_cast<cudaStream_t>(exec.stream);
}

// 16 bytes from `at`; those outside [begin, end) are zero and not touched.
static __device__ __forceinline__ Words4 Load16(const uint8_t* at, const uint8_t* begin,
                                                const uint8_t* end) {
  const auto skip = static_cast<uint32_t>(reinterpret_cast<uintptr_t>(at) % 16);
  const auto aligned = [](const uint8_t* from) {
    const uint4 v = *reinterpret_cast<const uint4*>(from);
    return Words4{{v.x, v.y, v.z, v.w}};
  };
  if (skip == 0 && at >= begin && at + 16 <= end) return aligned(at);
  if (skip != 0 && at - skip >= begin && at - skip + 32 <= end) {
    return BytesFrom(aligned(at - skip), aligned(at - skip + 16), skip);
  }
  Words4 out{};
  if (at + 16 <= begin || at >= end) return out;
#pragma unroll
  for (int i = 0; i < 16; ++i) {
    const uint32_t byte = at + i >= begin && at + i < end ? at[i] : 0;
    out.word[i / 4] |= byte << 8 * (i % 4);
  }
  return out;
}

// 16 bytes to `at`, but none from `end` on.
static __device__ __forceinline__ void Store16(const Words4& from, uint8_t* at,
                                               const uint8_t* end) {
  if (reinterpret_cast<uintptr_t>(at) % 16 == 0 && at + 16 <= end) {
    *reinterpret_cast<uint4*>(at) =
        make_uint4(from.word[0], from.word[1], from.word[2], from.word[3]);
    return;
  }
#pragma unroll
  for (int i = 0; i < 16; ++i) {
    if (at + i < end) at[i] = static_cast<uint8_t>(from.word[i / 4] >> 8 * (i % 4));
  }
}

}  // namespace farspan::kernels
