// Runs a fuzz target over a corpus without libFuzzer, so that every compiler and every test run
// does: each file as it is, cut short, and with single bytes changed (the same ones every time).
// Fails where a corpus is missing or empty; a finding aborts, and the file was named before.

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

constexpr size_t kVariants = 64;

// An exact-size heap copy, so that AddressSanitizer sees every read beyond the end.
void RunOn(const std::vector<uint8_t>& bytes, size_t size) {
  const std::vector<uint8_t> exact(bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(size));
  LLVMFuzzerTestOneInput(exact.data(), exact.size());
}

void RunVariants(std::vector<uint8_t> bytes) {
  RunOn(bytes, bytes.size());
  for (size_t i = 0; i < std::min(bytes.size(), kVariants); ++i) {
    RunOn(bytes, i * bytes.size() / kVariants);
  }
  uint32_t state = 1;
  for (size_t i = 0; i < kVariants && !bytes.empty(); ++i) {
    state = state * 1664525u + 1013904223u;  // Numerical Recipes' generator
    uint8_t& byte = bytes[(state >> 8) % bytes.size()];
    const uint8_t before = byte;
    byte = static_cast<uint8_t>(state >> 24);
    RunOn(bytes, bytes.size());
    byte = before;
  }
}

}  // namespace

int main(int argc, char** argv) {
  size_t replayed = 0;
  for (int i = 1; i < argc; ++i) {
    std::vector<std::filesystem::path> files;
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(argv[i], error)) {
      if (entry.is_regular_file()) files.push_back(entry.path());
    }
    std::sort(files.begin(), files.end());
    for (const auto& file : files) {
      std::printf("%s\n", file.c_str());
      std::fflush(stdout);
      std::ifstream in(file, std::ios::binary);
      RunVariants({std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()});
    }
    if (files.empty()) std::fprintf(stderr, "%s: no corpus\n", argv[i]);
    replayed += files.size();
  }
  std::printf("%zu files replayed\n", replayed);
  return replayed == 0 ? 1 : 0;
}
