#include "transports/testbed/deviation.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <vector>

#include "emulator/base/check.h"
#include "emulator/base/random.h"
#include "kernels/kernels.h"

namespace farspan::testbed {
namespace {

using collectives::Task;

constexpr double kMost = 2;

// To nearest even, in the high bits of a float.
float Rounded(Element element, float value) {
  if (element == Element::kFloat) return value;
  const auto bits = std::bit_cast<uint32_t>(value);
  return std::bit_cast<float>((bits + 0x7fff + ((bits >> 16) & 1)) & 0xffff0000);
}

float Value(Element element, uint64_t seed, uint32_t rank, uint64_t index) {
  const uint64_t random = Draw({seed}, RandomPurpose::kTest, index, rank).lo;
  int32_t sum = 0;
  for (int part = 0; part < 4; ++part) sum += static_cast<int16_t>(random >> 16 * part);
  return Rounded(element, static_cast<float>(sum) * 0x1p-16f);
}

float Load(Element element, const std::byte* at) {
  uint32_t bits = 0;
  std::memcpy(&bits, at, BytesOf(element));
  return std::bit_cast<float>(element == Element::kFloat ? bits : bits << 16);
}

// Half a step of a group whose largest magnitude is `a`, at its widest (kernels.h).
double StepError(Compression compression, double a) {
  return a / (compression == Compression::kInt8 ? 254 : 16);
}

double Bound(const Task& task, Compression compression, Element element) {
  const uint32_t sites = task.ranks / task.ranks_per_site;
  const double all = kMost * task.ranks;
  double bound = sites * StepError(compression, kMost * task.ranks_per_site);
  if (sites > 2) bound += StepError(compression, all + bound);  // the sum is coded too
  const double unit = element == Element::kFloat ? 0x1p-24 : 0x1p-8;
  return 1.0001 * bound + (task.ranks + 2) * unit * all;
}

}  // namespace

void FillGradients(const Task& task, Element element, uint64_t seed, std::span<std::byte> input) {
  const uint64_t each = BytesOf(element);
  for (uint64_t i = 0; i < input.size() / each; ++i) {
    const auto bits = std::bit_cast<uint32_t>(Value(element, seed, task.rank, i));
    const uint32_t stored = element == Element::kFloat ? bits : bits >> 16;
    std::memcpy(input.data() + i * each, &stored, each);
  }
}

Deviation DeviationOf(const Task& task, Compression compression, Element element, uint64_t seed,
                      std::span<const std::byte> output) {
  const uint64_t each = BytesOf(element);
  const double bound = Bound(task, compression, element);
  Deviation deviation;
  for (uint64_t i = 0; i < output.size() / each; ++i) {
    double exact = 0;
    for (uint32_t rank = 0; rank < task.ranks; ++rank) {
      exact += static_cast<double>(Value(element, seed, rank, i));
    }
    const double error = static_cast<double>(Load(element, output.data() + i * each)) - exact;
    deviation.error_squares += error * error;
    deviation.exact_squares += exact * exact;
    deviation.beyond += std::abs(error) <= bound ? 0 : 1;  // a NaN is beyond
  }
  return deviation;
}

uint32_t Digest(std::span<const std::byte> output) {
  constexpr uint64_t kPiece = 1 << 20;
  constexpr fsk_exec kCpu = {FSK_ABI_VERSION, FSK_CPU, nullptr, 0, nullptr, 0};
  const uint64_t pieces = (output.size() + kPiece - 1) / kPiece;
  std::vector<uint32_t> crcs(pieces);
  const fsk_packets data{reinterpret_cast<const uint8_t*>(output.data()),
                         kPiece,
                         kPiece,
                         static_cast<uint32_t>(output.size() - (pieces - 1) * kPiece),
                         pieces,
                         crcs.data()};
  FARSPAN_CHECK(fsk_crc32c(&kCpu, &data, 1) == FSK_OK);
  uint32_t digest = 0;
  const auto bytes = static_cast<uint32_t>(crcs.size() * sizeof crcs[0]);
  const fsk_packets all{
      reinterpret_cast<const uint8_t*>(crcs.data()), bytes, bytes, bytes, 1, &digest};
  FARSPAN_CHECK(fsk_crc32c(&kCpu, &all, 1) == FSK_OK);
  return digest;
}

}  // namespace farspan::testbed
