// Seqlock: one writer publishes a small value, any number of readers copy it without blocking it.
//
// Lamport's sequence counter with the value kept in atomic words (Boehm, "Can seqlocks get along
// with programming language memory models?", MSPC'12), so that there is no data race to excuse:
// release stores and acquire loads, no fences, plain moves on x86. A reader retries while the
// writer is between its two stores. T must be trivially copyable.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

namespace farspan {

template <typename T>
class Seqlock {
  static_assert(std::is_trivially_copyable_v<T> && std::is_default_constructible_v<T>);

 public:
  // The writer only.
  void store(const T& value) {
    std::array<uint64_t, kWords> words{};
    std::memcpy(words.data(), &value, sizeof(T));
    const uint64_t sequence = sequence_.load(std::memory_order_relaxed);
    sequence_.store(sequence + 1, std::memory_order_relaxed);
    for (size_t i = 0; i < kWords; ++i) words_[i].store(words[i], std::memory_order_release);
    sequence_.store(sequence + 2, std::memory_order_release);
  }

  T load() const {
    uint64_t version = 0;
    return load(version);
  }

  // `version` is that of the value returned; compare it with version() to see whether it is stale.
  T load(uint64_t& version) const {
    std::array<uint64_t, kWords> words{};
    for (;;) {
      version = sequence_.load(std::memory_order_acquire);
      for (size_t i = 0; i < kWords; ++i) words[i] = words_[i].load(std::memory_order_acquire);
      if (version % 2 == 0 && sequence_.load(std::memory_order_relaxed) == version) break;
    }
    T value;
    std::memcpy(static_cast<void*>(&value), words.data(), sizeof(T));
    return value;
  }

  uint64_t version() const { return sequence_.load(std::memory_order_acquire); }

 private:
  static constexpr size_t kWords = (sizeof(T) + 7) / 8;
  std::atomic<uint64_t> sequence_{0};
  std::array<std::atomic<uint64_t>, kWords> words_{};
};

}  // namespace farspan
