// Part of vector_ops.cc, which is compiled once per instruction set: the elements that share a
// scale, as floats.
#pragma once

#include <string.h>

#include "kernels/cpu/lanes.h"
#include "kernels/cpu/output.h"
#include "kernels/math/quantise.h"

namespace farspan::kernels {
namespace {

constexpr uint32_t kVectors = kGroup / kLanes;

struct alignas(64) Group {
  F x[kVectors];
};

FARSPAN_INLINE uint64_t Least(uint64_t a, uint64_t b) { return a < b ? a : b; }

// `from` if it has a whole group, else its `count` elements in `padded`, zeros after them.
template <typename Raw>
FARSPAN_INLINE const Raw* Padded(const void* from, uint64_t count, Raw (&padded)[kGroup]) {
  if (count == kGroup) return static_cast<const Raw*>(from);
  memset(padded, 0, sizeof padded);
  memcpy(padded, from, count * sizeof(Raw));
  return padded;
}

template <typename Type>
FARSPAN_INLINE void Load(const void* from, uint64_t count, Group& to) {
  alignas(64) typename Type::Raw padded[kGroup];
  const auto* raw = Padded(from, count, padded);
  for (uint32_t v = 0; v < kVectors; ++v) to.x[v] = Type::load(LoadVector(raw + v * kLanes));
}

template <typename Type>
FARSPAN_INLINE void Store(const Group& from, uint64_t count, Output& to) {
  alignas(64) typename Type::Raw raw[kGroup];
  for (uint32_t v = 0; v < kVectors; ++v)
    StoreVector(Type::template store<U>(from.x[v]), raw + v * kLanes);
  to.put<sizeof raw>(raw, count * sizeof raw[0]);
}

}  // namespace
}  // namespace farspan::kernels
