#include <cstdio>

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/operations.h"

namespace farspan::kernels {
namespace {

uint32_t Multiprocessors() {
  int device = 0;
  int count = 0;
  if (cudaGetDevice(&device) != cudaSuccess ||
      cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, device) != cudaSuccess) {
    return 1;  // the launch will say what is wrong
  }
  return static_cast<uint32_t>(count);
}

const char* Name() {
  static const struct Text {
    Text() {
      cudaDeviceProp properties;
      int count = 0;
      if (cudaGetDeviceCount(&count) != cudaSuccess || count == 0 ||
          cudaGetDeviceProperties(&properties, 0) != cudaSuccess) {
        cudaGetLastError();  // no GPU is no error of a later call
        std::snprintf(text, sizeof text, "none");
        return;
      }
      std::snprintf(text, sizeof text, "%.200s, %d SMs", properties.name,
                    properties.multiProcessorCount);
    }
    char text[256];
  } name;
  return name.text;
}

}  // namespace

fsk_status LaunchStatus() {
  const cudaError_t error = cudaGetLastError();
  if (error == cudaSuccess) return FSK_OK;
  return Fail(FSK_DEVICE_ERROR, "CUDA: %s: %s", cudaGetErrorName(error), cudaGetErrorString(error));
}

uint32_t BlocksFor(uint64_t tiles, const fsk_exec& exec) {
  const uint32_t all = Multiprocessors();
  const uint32_t most = exec.max_sms > 0 && exec.max_sms < all ? exec.max_sms : all;
  return static_cast<uint32_t>(tiles < most ? tiles : most);
}

extern const Backend kCudaBackend = {Name,       CudaQuantise, CudaDequantise, CudaAccumulate,
                                     CudaReduce, CudaParity,   CudaCrc32c,     CudaParityWorkspace};

}  // namespace farspan::kernels
