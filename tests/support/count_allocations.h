// Replaces operator new and delete in the one program that includes it, and counts their calls.
#pragma once

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <new>

namespace {
std::atomic<uint64_t> allocations{0};
std::atomic<uint64_t> allocated_bytes{0};
}  // namespace

// All forms, so that none is left to a sanitizer's own.
static void* Allocate(size_t size, size_t alignment) {
  ++allocations;
  allocated_bytes += size;
  return alignment == 0
             ? std::malloc(size)
             : std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
}
static void* AllocateOrThrow(size_t size, size_t alignment) {
  if (void* memory = Allocate(size, alignment)) return memory;
  throw std::bad_alloc();
}
static void Free(void* memory) {
  ++allocations;
  std::free(memory);
}

using std::align_val_t;
using std::nothrow_t;
void* operator new(size_t n) { return AllocateOrThrow(n, 0); }
void* operator new[](size_t n) { return AllocateOrThrow(n, 0); }
void* operator new(size_t n, align_val_t a) { return AllocateOrThrow(n, size_t(a)); }
void* operator new[](size_t n, align_val_t a) { return AllocateOrThrow(n, size_t(a)); }
void* operator new(size_t n, const nothrow_t&) noexcept { return Allocate(n, 0); }
void* operator new[](size_t n, const nothrow_t&) noexcept { return Allocate(n, 0); }
void operator delete(void* memory) noexcept { Free(memory); }
void operator delete[](void* memory) noexcept { Free(memory); }
void operator delete(void* memory, size_t) noexcept { Free(memory); }
void operator delete[](void* memory, size_t) noexcept { Free(memory); }
void operator delete(void* memory, align_val_t) noexcept { Free(memory); }
void operator delete[](void* memory, align_val_t) noexcept { Free(memory); }
void operator delete(void* memory, size_t, align_val_t) noexcept { Free(memory); }
void operator delete[](void* memory, size_t, align_val_t) noexcept { Free(memory); }
void operator delete(void* memory, const nothrow_t&) noexcept { Free(memory); }
void operator delete[](void* memory, const nothrow_t&) noexcept { Free(memory); }
