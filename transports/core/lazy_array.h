// LazyArray: zeroed memory for many small things, of which a page costs nothing until it is used.
//
// For rings and stores that are sized for the longest path and, on most, used in a small part: a
// std::vector writes all of them when a connection is made, for tens of milliseconds. The price is
// a page fault on first use. T must be something that all-zero bytes are a valid value of.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <type_traits>

#include "emulator/base/check.h"

namespace farspan::transport {

template <typename T>
class LazyArray {
  static_assert(std::is_trivially_copyable_v<T> && std::is_trivially_destructible_v<T>);

 public:
  explicit LazyArray(size_t size) : size_(size) {
    if (size == 0) return;
    items_.reset(static_cast<T*>(std::calloc(size, sizeof(T))));
    FARSPAN_CHECK(items_ != nullptr);
  }

  bool empty() const { return size_ == 0; }
  size_t size() const { return size_; }
  T& operator[](size_t i) { return items_.get()[i]; }
  const T& operator[](size_t i) const { return items_.get()[i]; }

 private:
  struct Free {
    void operator()(T* memory) const { std::free(memory); }
  };
  size_t size_;
  std::unique_ptr<T, Free> items_;
};

}  // namespace farspan::transport
