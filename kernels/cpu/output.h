// Part of vector_ops.cc, which is compiled once per instruction set: where results go.
// Large outputs leave the cache by non-temporal stores, which spare reading what will be
// overwritten.
#pragma once

#include <stdint.h>
#include <string.h>

#ifdef __x86_64__
#include <immintrin.h>
#endif

namespace farspan::kernels {
namespace {

constexpr uint64_t kStreamBytes = 8 << 20;  // outputs from here on would not stay in a cache

// Copies finished pieces of an item's output to where they belong.
class Output {
 public:
  Output(void* to, uint64_t total_bytes) : to_(static_cast<uint8_t*>(to)) {
#ifdef __x86_64__
    stream_ = total_bytes >= kStreamBytes && reinterpret_cast<uintptr_t>(to) % 64 == 0;
#else
    (void)total_bytes;
#endif
  }
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;
  ~Output() {
#ifdef __x86_64__
    if (stream_) _mm_sfence();
#endif
  }

  template <uint64_t kBytes>
  inline __attribute__((always_inline)) void put(const void* from, uint64_t bytes) {
    if (bytes != kBytes) {
      memcpy(to_, from, bytes);
    } else if (stream_) {
      stream<kBytes>(from);
    } else {
      memcpy(to_, from, kBytes);
    }
    to_ += bytes;
  }
#if defined(__AVX512F__)
  inline __attribute__((always_inline)) void put(__m512i bytes) {
    if (stream_) {
      _mm512_stream_si512(reinterpret_cast<__m512i*>(to_), bytes);
    } else {
      _mm512_storeu_si512(to_, bytes);
    }
    to_ += 64;
  }
#endif

 private:
  template <uint64_t kBytes>
  inline __attribute__((always_inline)) void stream(const void* from) {
    static_assert(kBytes % 64 == 0);
#if defined(__AVX512F__)
    for (uint64_t i = 0; i < kBytes; i += 64) {
      _mm512_stream_si512(reinterpret_cast<__m512i*>(to_ + i),
                          _mm512_loadu_si512(static_cast<const uint8_t*>(from) + i));
    }
#elif defined(__x86_64__)
    for (uint64_t i = 0; i < kBytes; i += 16) {
      const auto* source = reinterpret_cast<const __m128i*>(static_cast<const uint8_t*>(from) + i);
      _mm_stream_si128(reinterpret_cast<__m128i*>(to_ + i), _mm_loadu_si128(source));
    }
#else
    memcpy(to_, from, kBytes);
#endif
  }

  uint8_t* to_;
  bool stream_ = false;
};

}  // namespace
}  // namespace farspan::kernels
