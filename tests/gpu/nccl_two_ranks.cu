// One rank of an NCCL all-reduce of fp32 sums, size by size: checked and timed. Ranks are processes
// and find each other by a file. scripts/gpu_machine.sh starts two of them on one GPU.
//
// Usage: nccl_two_ranks RANK RANKS ID_FILE [JSON_FILE]     rank 0 writes JSON_FILE
#include <cuda_runtime.h>
#include <nccl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

namespace {

#define MUST(call, good, text)                                               \
  do {                                                                       \
    if (const auto status = (call); status != (good)) {                      \
      std::fprintf(stderr, "nccl_two_ranks: %s: %s\n", #call, text(status)); \
      std::exit(1);                                                          \
    }                                                                        \
  } while (0)
#define CUDA(call) MUST(call, cudaSuccess, cudaGetErrorString)
#define NCCL(call) MUST(call, ncclSuccess, ncclGetErrorString)

// Rank 0 makes the file appear at once; the others wait for it.
ncclUniqueId ShareId(int rank, const std::string& path) {
  ncclUniqueId id;
  if (rank == 0) {
    NCCL(ncclGetUniqueId(&id));
    std::ofstream(path + ".part", std::ios::binary).write(id.internal, sizeof id.internal);
    std::rename((path + ".part").c_str(), path.c_str());
    return id;
  }
  for (int tries = 0; tries < 300; ++tries) {
    if (std::ifstream file(path, std::ios::binary); file.read(id.internal, sizeof id.internal)) {
      return id;
    }
    usleep(100'000);
  }
  std::fprintf(stderr, "nccl_two_ranks: no %s within 30 s\n", path.c_str());
  std::exit(1);
}

struct Row {
  size_t bytes;
  double seconds;  // of one all-reduce, the median
  size_t wrong;
};

// Sums of small whole numbers are exact, whatever their order.
float ValueOf(int rank, size_t i) { return static_cast<float>((i * 7 + 13 * rank) % 1024); }

Row Time(ncclComm_t comm, cudaStream_t stream, int rank, int ranks, size_t bytes) {
  const size_t count = bytes / sizeof(float);
  std::vector<float> values(count);
  for (size_t i = 0; i < count; ++i) values[i] = ValueOf(rank, i);
  float* in = nullptr;
  float* out = nullptr;
  CUDA(cudaMalloc(&in, bytes));
  CUDA(cudaMalloc(&out, bytes));
  CUDA(cudaMemcpy(in, values.data(), bytes, cudaMemcpyHostToDevice));
  constexpr int kRounds = 7;  // the same on all ranks, whatever the time; two to warm up
  std::vector<double> seconds;
  for (int round = 0; round < kRounds; ++round) {
    const auto began = std::chrono::steady_clock::now();
    NCCL(ncclAllReduce(in, out, count, ncclFloat, ncclSum, comm, stream));
    CUDA(cudaStreamSynchronize(stream));
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
    if (round >= 2) seconds.push_back(took.count());
  }
  std::nth_element(seconds.begin(), seconds.begin() + 2, seconds.end());
  CUDA(cudaMemcpy(values.data(), out, bytes, cudaMemcpyDeviceToHost));
  Row row{bytes, seconds[2], 0};
  for (size_t i = 0; i < count; ++i) {
    float sum = 0;
    for (int r = 0; r < ranks; ++r) sum += ValueOf(r, i);
    row.wrong += values[i] != sum;
  }
  CUDA(cudaFree(in));
  CUDA(cudaFree(out));
  return row;
}

void WriteJson(const char* path, const std::vector<Row>& rows) {
  int version = 0;
  NCCL(ncclGetVersion(&version));
  cudaDeviceProp device;
  CUDA(cudaGetDeviceProperties(&device, 0));
  std::ofstream file(path);
  file << "{\n \"schema\": \"farspan.nccl_two_ranks.v1\",\n \"label\": \"measured\",\n \"device\": "
          "\""
       << device.name << "\",\n \"nccl\": " << version << ",\n \"rows\": [";
  for (size_t i = 0; i < rows.size(); ++i) {
    file << (i ? "," : "") << "\n  {\"bytes\": " << rows[i].bytes
         << ", \"seconds\": " << rows[i].seconds << ", \"wrong\": " << rows[i].wrong << "}";
  }
  file << "\n ]\n}\n";
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) {
    std::fprintf(stderr, "Usage: nccl_two_ranks RANK RANKS ID_FILE [JSON_FILE]\n");
    return 2;
  }
  const int rank = std::atoi(argv[1]);
  const int ranks = std::atoi(argv[2]);
  CUDA(cudaSetDevice(0));
  const ncclUniqueId id = ShareId(rank, argv[3]);
  ncclComm_t comm;
  cudaStream_t stream;
  NCCL(ncclCommInitRank(&comm, ranks, id, rank));
  CUDA(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  std::vector<Row> rows;
  for (size_t bytes = 4 << 10; bytes <= 256 << 20; bytes *= 16) {
    rows.push_back(Time(comm, stream, rank, ranks, bytes));
    const Row& row = rows.back();
    std::printf("rank %d: %10zu B %10.3f ms %8.3f GB/s, %zu wrong\n", rank, row.bytes,
                1e3 * row.seconds, static_cast<double>(row.bytes) / row.seconds / 1e9, row.wrong);
    std::fflush(stdout);
  }
  NCCL(ncclCommDestroy(comm));
  if (rank == 0 && argc > 4) WriteJson(argv[4], rows);
  return std::any_of(rows.begin(), rows.end(), [](const Row& r) { return r.wrong > 0; }) ? 1 : 0;
}
