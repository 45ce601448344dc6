#include "transports/testbed/quantised.h"

#include <array>
#include <string>
#include <utility>

#include "emulator/base/check.h"
#include "kernels/kernels.h"

namespace farspan::testbed {
namespace {

constexpr fsk_exec kCpu = {FSK_ABI_VERSION, FSK_CPU, nullptr, 0, nullptr, 0};

fsk_quantiser QuantiserOf(Compression compression) {
  return {compression == Compression::kInt8 ? FSK_INT8 : FSK_FP8_E4M3, FSK_NEAREST, 0};
}
fsk_type TypeOf(Element element) { return element == Element::kFloat ? FSK_FP32 : FSK_BF16; }

uint64_t GroupsOf(uint64_t elements) { return (elements + FSK_GROUP - 1) / FSK_GROUP; }

// The two parts of a code.
float* ScalesOf(std::byte* code) { return reinterpret_cast<float*>(code); }
const float* ScalesOf(const std::byte* code) { return reinterpret_cast<const float*>(code); }
uint8_t* CodesOf(std::byte* code, uint64_t elements) {
  return reinterpret_cast<uint8_t*>(code) + GroupsOf(elements) * sizeof(float);
}
const uint8_t* CodesOf(const std::byte* code, uint64_t elements) {
  return reinterpret_cast<const uint8_t*>(code) + GroupsOf(elements) * sizeof(float);
}

void Quantise(Compression compression, fsk_type type, const void* values, uint64_t elements,
              std::byte* code) {
  const fsk_quantiser how = QuantiserOf(compression);
  const fsk_quantise_item item{values, CodesOf(code, elements), ScalesOf(code), elements, 0};
  FARSPAN_CHECK(fsk_quantise(&kCpu, type, &how, &item, 1) == FSK_OK);
}

// Without its outputs.
fsk_accumulate_item SumOf(std::span<const std::byte* const> codes, uint64_t elements) {
  FARSPAN_CHECK(!codes.empty() && codes.size() <= FSK_SOURCES_MAX);
  fsk_accumulate_item item{};
  for (size_t i = 0; i < codes.size(); ++i) {
    item.codes[i] = CodesOf(codes[i], elements);
    item.scales[i] = ScalesOf(codes[i]);
  }
  item.elements = elements;
  item.sources = static_cast<uint32_t>(codes.size());
  return item;
}

void Accumulate(Compression compression, fsk_type type, const fsk_accumulate_item& item) {
  const fsk_quantiser how = QuantiserOf(compression);
  FARSPAN_CHECK(fsk_accumulate(&kCpu, type, &how, &item, 1) == FSK_OK);
}

}  // namespace

uint64_t Quantised::coded_bytes(uint64_t bytes) const {
  const uint64_t elements = bytes / BytesOf(element_);
  return GroupsOf(elements) * sizeof(float) + elements;
}

void Quantised::encode(const std::byte* values, uint64_t /*at*/, uint64_t bytes, std::byte* code) {
  Quantise(compression_, TypeOf(element_), values, bytes / BytesOf(element_), code);
}

void Quantised::sum(std::span<const std::byte* const> codes, uint64_t bytes, std::byte* values) {
  fsk_accumulate_item item = SumOf(codes, bytes / BytesOf(element_));
  item.values = values;
  Accumulate(compression_, TypeOf(element_), item);
}

void Quantised::sum_to_code(std::span<const std::byte* const> codes, uint64_t /*at*/,
                            uint64_t bytes, std::byte* code) {
  const uint64_t elements = bytes / BytesOf(element_);
  fsk_accumulate_item item = SumOf(codes, elements);
  item.out_codes = CodesOf(code, elements);
  item.out_scales = ScalesOf(code);
  Accumulate(compression_, TypeOf(element_), item);
}

// carried -= what the code says
void ErrorFeedback::take_off(const std::byte* code, float* carried, uint64_t elements) {
  const float* scales = ScalesOf(code);
  negated_.assign(scales, scales + GroupsOf(elements));
  for (float& scale : negated_) scale = -scale;
  fsk_accumulate_item item{};
  item.base = item.values = carried;
  item.codes[0] = CodesOf(code, elements);
  item.scales[0] = negated_.data();
  item.elements = elements;
  item.sources = 1;
  Accumulate(compression(), FSK_FP32, item);
}

void ErrorFeedback::encode(const std::byte* values, uint64_t at, uint64_t bytes, std::byte* code) {
  const uint64_t elements = bytes / sizeof(float);
  float* carried = &of_contribution_[at / sizeof(float)];
  fsk_reduce_item add{};
  add.in[0] = values;
  add.in[1] = add.out = carried;
  add.elements = elements;
  add.sources = 2;
  FARSPAN_CHECK(fsk_reduce(&kCpu, FSK_FP32, FSK_SUM, &add, 1) == FSK_OK);
  Quantise(compression(), FSK_FP32, carried, elements, code);
  take_off(code, carried, elements);
}

void ErrorFeedback::sum_to_code(std::span<const std::byte* const> codes, uint64_t at,
                                uint64_t bytes, std::byte* code) {
  const uint64_t elements = bytes / sizeof(float);
  float* carried = &of_sum_[at / sizeof(float)];
  fsk_accumulate_item item = SumOf(codes, elements);
  item.base = item.values = carried;
  item.out_codes = CodesOf(code, elements);
  item.out_scales = ScalesOf(code);
  Accumulate(compression(), FSK_FP32, item);
  take_off(code, carried, elements);
}

}  // namespace farspan::testbed
