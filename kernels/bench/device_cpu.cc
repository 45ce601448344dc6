#include <sys/mman.h>
#include <time.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "kernels/bench/device.h"

namespace farspan::kernels::bench {
namespace {

class CpuDevice final : public Device {
 public:
  fsk_device kind() const override { return FSK_CPU; }
  uint32_t multiprocessors() const override { return 0; }

  void* allocate(uint64_t bytes) override {
    constexpr uint64_t kHugePage = 2 << 20;
    const uint64_t whole = (bytes + kHugePage - 1) / kHugePage * kHugePage;
    void* memory = std::aligned_alloc(kHugePage, whole);
    if (!memory) {
      std::fprintf(stderr, "farspan-kernels: no memory for %llu bytes\n",
                   static_cast<unsigned long long>(bytes));
      std::exit(3);
    }
    madvise(memory, whole, MADV_HUGEPAGE);
    std::memset(memory, 0, whole);
    return memory;
  }
  void release(void* memory) override { std::free(memory); }

  void upload(void* to, const void* from, uint64_t bytes) override { copy(to, from, bytes); }
  void download(void* to, const void* from, uint64_t bytes) override { copy(to, from, bytes); }
  void copy(void* to, const void* from, uint64_t bytes) override {
    if (bytes != 0) std::memcpy(to, from, bytes);  // what is empty may be a null pointer
  }

  double seconds(const std::function<void()>& work, int repeats) override {
    const double start = cpu_time();
    for (int i = 0; i < repeats; ++i) work();
    return (cpu_time() - start) / repeats;
  }
  void synchronise() override {}

 private:
  // Of this thread: other programs' turns on the core do not count.
  static double cpu_time() {
    timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
  }
};

}  // namespace

std::unique_ptr<Device> MakeCpuDevice() { return std::make_unique<CpuDevice>(); }

}  // namespace farspan::kernels::bench
