#include <cuda_runtime.h>

#include <cstdio>
#include <cstdlib>

#include "kernels/bench/device.h"

namespace farspan::kernels::bench {
namespace {

void Expect(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  std::fprintf(stderr, "farspan-kernels: %s: %s\n", what, cudaGetErrorString(error));
  std::exit(3);
}

// Everything runs on the legacy default stream.
class CudaDevice final : public Device {
 public:
  CudaDevice() {
    Expect(cudaEventCreate(&start_), "cudaEventCreate");
    Expect(cudaEventCreate(&stop_), "cudaEventCreate");
  }
  ~CudaDevice() override {
    cudaEventDestroy(start_);
    cudaEventDestroy(stop_);
  }
  CudaDevice(const CudaDevice&) = delete;
  CudaDevice& operator=(const CudaDevice&) = delete;

  fsk_device kind() const override { return FSK_CUDA; }
  uint32_t multiprocessors() const override {
    int count = 0;
    Expect(cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, 0), "attribute");
    return static_cast<uint32_t>(count);
  }
  void* allocate(uint64_t bytes) override {
    void* memory = nullptr;
    Expect(cudaMalloc(&memory, bytes), "cudaMalloc");
    Expect(cudaMemset(memory, 0, bytes), "cudaMemset");
    return memory;
  }
  void release(void* memory) override { cudaFree(memory); }
  void upload(void* to, const void* from, uint64_t bytes) override {
    Expect(cudaMemcpy(to, from, bytes, cudaMemcpyHostToDevice), "upload");
  }
  void download(void* to, const void* from, uint64_t bytes) override {
    Expect(cudaMemcpy(to, from, bytes, cudaMemcpyDeviceToHost), "download");
  }
  void copy(void* to, const void* from, uint64_t bytes) override {
    Expect(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, nullptr), "copy");
  }
  double seconds(const std::function<void()>& work, int repeats) override {
    Expect(cudaEventRecord(start_), "cudaEventRecord");
    for (int i = 0; i < repeats; ++i) work();
    Expect(cudaEventRecord(stop_), "cudaEventRecord");
    Expect(cudaEventSynchronize(stop_), "timed work");
    float milliseconds = 0;
    Expect(cudaEventElapsedTime(&milliseconds, start_, stop_), "cudaEventElapsedTime");
    return 1e-3 * static_cast<double>(milliseconds) / repeats;
  }
  void synchronise() override { Expect(cudaDeviceSynchronize(), "checked work"); }

 private:
  cudaEvent_t start_;
  cudaEvent_t stop_;
};

}  // namespace

std::unique_ptr<Device> MakeCudaDevice() { return std::make_unique<CudaDevice>(); }

}  // namespace farspan::kernels::bench
