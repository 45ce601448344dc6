// A device as the bench sees it: memory, a copy to compare with, and a clock.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <utility>

#include "kernels/kernels.h"

namespace farspan::kernels::bench {

class Device {
 public:
  virtual ~Device() = default;
  virtual fsk_device kind() const = 0;
  virtual uint32_t multiprocessors() const = 0;  // 0 for a CPU
  virtual void* allocate(uint64_t bytes) = 0;    // aligned to 256 bytes at least; ends the program
  virtual void release(void* memory) = 0;        // where there is none
  virtual void upload(void* to, const void* from, uint64_t bytes) = 0;
  virtual void download(void* to, const void* from, uint64_t bytes) = 0;
  virtual void copy(void* to, const void* from, uint64_t bytes) = 0;  // as fast as the device can
  // Seconds of one of `repeats` calls of `work` in a row, on the device's own clock.
  virtual double seconds(const std::function<void()>& work, int repeats) = 0;
  // Waits, and ends the program if the device reports an error.
  virtual void synchronise() = 0;
};

std::unique_ptr<Device> MakeCpuDevice();
std::unique_ptr<Device> MakeCudaDevice();  // where the library is built with CUDA

// Memory of a device.
class Buffer {
 public:
  Buffer() = default;
  Buffer(Device& device, uint64_t bytes) : device_(&device), at_(device.allocate(bytes)) {}
  Buffer(Buffer&& other) noexcept { swap(other); }
  Buffer& operator=(Buffer&& other) noexcept {
    swap(other);
    return *this;
  }
  ~Buffer() {
    if (at_) device_->release(at_);
  }
  uint8_t* at(uint64_t offset = 0) const { return static_cast<uint8_t*>(at_) + offset; }

 private:
  void swap(Buffer& other) {
    std::swap(device_, other.device_);
    std::swap(at_, other.at_);
  }
  Device* device_ = nullptr;
  void* at_ = nullptr;
};

}  // namespace farspan::kernels::bench
