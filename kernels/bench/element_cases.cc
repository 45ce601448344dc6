#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/bench/case.h"
#include "kernels/cpu/vector_ops.h"
#include "kernels/math/element.h"
#include "kernels/math/quantise.h"

namespace farspan::kernels::bench {
namespace {

const char* NameOf(fsk_type type) {
  return type == FSK_FP32 ? "fp32" : type == FSK_BF16 ? "bf16" : "fp16";
}
const char* NameOf(fsk_code code) { return code == FSK_INT8 ? "int8" : "fp8"; }
uint64_t WidthOf(fsk_type type) { return type == FSK_FP32 ? 4 : 2; }
uint64_t GroupsOf(uint64_t elements) { return (elements + kGroup - 1) / kGroup; }

float ValueAt(fsk_type type, const uint8_t* values, uint64_t i) {
  uint32_t raw = 0;
  std::memcpy(&raw, values + i * WidthOf(type), WidthOf(type));
  return type == FSK_FP32 ? Fp32::load(raw) : type == FSK_BF16 ? Bf16::load(raw) : Fp16::load(raw);
}

// One array of an operation's arguments, cut among the items: contents here and on the device, and
// a place for the reference's results. Items are apart by what keeps them as displaced as asked
// for.
class Array {
 public:
  Array() = default;
  // sizes: elements per item
  Array(Device& device, const std::vector<uint64_t>& sizes, uint64_t width, uint32_t displacement) {
    uint64_t end = 0;
    for (const uint64_t size : sizes) {
      offsets_.push_back(end + displacement * width);
      end += (size * width + displacement * width + 255) / 256 * 256;
    }
    here_.assign(end, 0);
    there_ = Buffer(device, end + 1);
    device.upload(there_.at(), here_.data(), end);
  }
  void fill(Device& device, const std::vector<uint8_t>& contents) {
    std::copy_n(contents.begin(), std::min(contents.size(), here_.size() - offsets_[0]),
                here_.begin() + static_cast<ptrdiff_t>(offsets_[0]));
    device.upload(there_.at(), here_.data(), here_.size());
  }
  bool same(Device& device) const {
    std::vector<uint8_t> back(here_.size());
    device.download(back.data(), there_.at(), back.size());
    return back == here_;
  }
  uint64_t bytes() const { return here_.size(); }
  uint8_t* here(size_t item) { return here_.data() + offsets_[item]; }
  template <typename T = uint8_t>
  T* there(size_t item) const {
    return reinterpret_cast<T*>(there_.at(offsets_[item]));
  }

 private:
  std::vector<uint64_t> offsets_;
  std::vector<uint8_t> here_;
  Buffer there_;
};

std::vector<uint64_t> GroupsOf(const std::vector<uint64_t>& sizes) {
  std::vector<uint64_t> groups;
  for (const uint64_t size : sizes) groups.push_back(GroupsOf(size));
  return groups;
}

const VectorOps& Reference() { return *VectorOpsFor(Isa::kBaseline); }

// Makes the arrays of an operation on elements, all cut alike.
struct Maker {
  Device& device;
  const std::vector<uint64_t>& sizes;
  uint32_t displacement;
  bool special;

  Array empty(fsk_type type) const { return Array(device, sizes, WidthOf(type), displacement); }
  Array random(fsk_type type, uint64_t seed) const {
    Array array = empty(type);
    array.fill(device, RandomValues(type, array.bytes() / WidthOf(type), seed, special));
    return array;
  }
  Array empty_codes() const { return Array(device, sizes, 1, displacement); }
  Array empty_scales() const { return Array(device, GroupsOf(sizes), 4, displacement); }
  // Codes of all kinds with reasonable scales, a few of which are NaN if asked for.
  Array random_codes(uint64_t seed) const {
    Array array = empty_codes();
    array.fill(device, RandomBytes(array.bytes(), seed));
    return array;
  }
  Array random_scales(uint64_t seed) const {
    Array array = empty_scales();
    array.fill(device, RandomValues(FSK_FP32, array.bytes() / 4, seed, special));
    return array;
  }
};

enum class Place { kHere, kThere };

// An operation on elements: its items point to the device or, for the reference, here.
template <typename Item>
class ElementCase : public Case {
 public:
  explicit ElementCase(fsk_type type) : type_(type) {}

  void prepare(Device& device, const Shape& shape) final {
    const uint64_t elements = shape.bytes / WidthOf(type_);
    sizes_ = Split(elements, shape.items);
    make({device, sizes_, shape.displacement, shape.items > 1});
    items_.clear();
    for (size_t i = 0; i < sizes_.size(); ++i) items_.push_back(item(i, Place::kThere));
    payload_ = elements * WidthOf(type_);
    moved_ = bytes_moved(payload_, elements + 4 * GroupsOf(elements));
  }

  Outcome verify(Device& device) override {
    for (size_t i = 0; i < sizes_.size(); ++i) refer(item(i, Place::kHere));
    bool same = true;
    for (const Array* array : results()) same = same && array->same(device);
    return {same, -1};
  }

 protected:
  virtual void make(const Maker& maker) = 0;
  virtual Item item(size_t i, Place place) = 0;
  virtual void refer(const Item& item) = 0;
  virtual std::vector<const Array*> results() const = 0;
  // From the bytes of the values and of as many codes with their scales.
  virtual uint64_t bytes_moved(uint64_t values, uint64_t quantised) const = 0;

  template <typename T = uint8_t>
  static T* At(Array& array, size_t i, Place place) {
    return place == Place::kHere ? reinterpret_cast<T*>(array.here(i)) : array.there<T>(i);
  }

  fsk_type type_;
  std::vector<uint64_t> sizes_;
  std::vector<Item> items_;
};

class QuantiseCase final : public ElementCase<fsk_quantise_item> {
 public:
  QuantiseCase(fsk_type type, fsk_code code, fsk_rounding rounding)
      : ElementCase(type), quantiser_{code, rounding, 0x5eed} {}

  std::string name() const override {
    return std::string("quantise ") + NameOf(type_) + " " + NameOf(quantiser_.code) +
           (quantiser_.rounding == FSK_STOCHASTIC ? " stochastic" : "");
  }

  fsk_status run(const fsk_exec& exec) override {
    return fsk_quantise(&exec, type_, &quantiser_, items_.data(), items_.size());
  }

  Outcome verify(Device& device) override {
    Outcome outcome = ElementCase::verify(device);
    double error = 0;
    double norm = 0;
    for (size_t item = 0; item < sizes_.size(); ++item) {
      const auto* scales = At<float>(scales_, item, Place::kHere);
      for (uint64_t i = 0; i < sizes_[item]; ++i) {
        const float scale = scales[i / kGroup];
        if (std::isnan(scale) || scale > 1) continue;  // a group with a special value
        const uint32_t code = codes_.here(item)[i];
        const double value = ValueAt(type_, values_.here(item), i);
        const float decoded =
            (quantiser_.code == FSK_INT8 ? Int8::decode(code) : Fp8E4m3::decode(code)) * scale;
        error += (decoded - value) * (decoded - value);
        norm += value * value;
      }
    }
    if (norm > 0) outcome.relative_error = std::sqrt(error / norm);
    return outcome;
  }

 private:
  void make(const Maker& maker) override {
    values_ = maker.random(type_, 1);
    codes_ = maker.empty_codes();
    scales_ = maker.empty_scales();
  }
  fsk_quantise_item item(size_t i, Place place) override {
    return {At(values_, i, place), At(codes_, i, place), At<float>(scales_, i, place), sizes_[i],
            kGroup * 1000 * i};
  }
  void refer(const fsk_quantise_item& item) override {
    Reference().quantise(type_, quantiser_, item);
  }
  std::vector<const Array*> results() const override { return {&codes_, &scales_}; }
  uint64_t bytes_moved(uint64_t values, uint64_t quantised) const override {
    return values + quantised;
  }

  fsk_quantiser quantiser_;
  Array values_;
  Array codes_;
  Array scales_;
};

class DequantiseCase final : public ElementCase<fsk_dequantise_item> {
 public:
  DequantiseCase(fsk_type type, fsk_code code) : ElementCase(type), code_(code) {}

  std::string name() const override {
    return std::string("dequantise ") + NameOf(code_) + " " + NameOf(type_);
  }

  fsk_status run(const fsk_exec& exec) override {
    return fsk_dequantise(&exec, type_, code_, items_.data(), items_.size());
  }

 private:
  void make(const Maker& maker) override {
    values_ = maker.empty(type_);
    codes_ = maker.random_codes(2);
    scales_ = maker.random_scales(2);
  }
  fsk_dequantise_item item(size_t i, Place place) override {
    return {At(codes_, i, place), At<float>(scales_, i, place), At(values_, i, place), sizes_[i]};
  }
  void refer(const fsk_dequantise_item& item) override {
    Reference().dequantise(type_, code_, item);
  }
  std::vector<const Array*> results() const override { return {&values_}; }
  uint64_t bytes_moved(uint64_t values, uint64_t quantised) const override {
    return values + quantised;
  }

  fsk_code code_;
  Array values_;
  Array codes_;
  Array scales_;
};

// base + sources -> values, or sources -> codes.
class AccumulateCase final : public ElementCase<fsk_accumulate_item> {
 public:
  AccumulateCase(fsk_type type, fsk_code code, uint32_t sources, bool requantise)
      : ElementCase(type),
        quantiser_{code, FSK_NEAREST, 0},
        sources_(sources),
        requantise_(requantise) {}

  std::string name() const override {
    return std::string("accumulate ") + std::to_string(sources_) + " " + NameOf(quantiser_.code) +
           (requantise_ ? " to codes" : std::string(" on ") + NameOf(type_));
  }

  fsk_status run(const fsk_exec& exec) override {
    return fsk_accumulate(&exec, type_, &quantiser_, items_.data(), items_.size());
  }

 private:
  void make(const Maker& maker) override {
    codes_.clear();
    scales_.clear();
    for (uint32_t s = 0; s < sources_; ++s) {
      codes_.push_back(maker.random_codes(10 + s));
      scales_.push_back(maker.random_scales(10 + s));
    }
    base_ = maker.random(type_, 3);
    values_ = maker.empty(type_);
    out_codes_ = maker.empty_codes();
    out_scales_ = maker.empty_scales();
  }
  fsk_accumulate_item item(size_t i, Place place) override {
    fsk_accumulate_item item{};
    for (uint32_t s = 0; s < sources_; ++s) {
      item.codes[s] = At(codes_[s], i, place);
      item.scales[s] = At<float>(scales_[s], i, place);
    }
    if (requantise_) {
      item.out_codes = At(out_codes_, i, place);
      item.out_scales = At<float>(out_scales_, i, place);
    } else {
      item.base = At(base_, i, place);
      item.values = At(values_, i, place);
    }
    item.elements = sizes_[i];
    item.first_element = 0;
    item.sources = sources_;
    return item;
  }
  void refer(const fsk_accumulate_item& item) override {
    Reference().accumulate(type_, quantiser_, item);
  }
  std::vector<const Array*> results() const override {
    return {&values_, &out_codes_, &out_scales_};
  }
  uint64_t bytes_moved(uint64_t values, uint64_t quantised) const override {
    return sources_ * quantised + (requantise_ ? quantised : 2 * values);
  }

  fsk_quantiser quantiser_;
  uint32_t sources_;
  bool requantise_;
  std::vector<Array> codes_;
  std::vector<Array> scales_;
  Array base_;
  Array values_;
  Array out_codes_;
  Array out_scales_;
};

class ReduceCase final : public ElementCase<fsk_reduce_item> {
 public:
  ReduceCase(fsk_type type, fsk_reduction reduction, uint32_t sources)
      : ElementCase(type), reduction_(reduction), sources_(sources) {}

  std::string name() const override {
    return std::string(reduction_ == FSK_MAX ? "max " : "sum ") + std::to_string(sources_) + " " +
           NameOf(type_);
  }

  fsk_status run(const fsk_exec& exec) override {
    return fsk_reduce(&exec, type_, reduction_, items_.data(), items_.size());
  }

 private:
  void make(const Maker& maker) override {
    in_.clear();
    for (uint32_t s = 0; s < sources_; ++s) in_.push_back(maker.random(type_, s));
    out_ = maker.empty(type_);
  }
  fsk_reduce_item item(size_t i, Place place) override {
    fsk_reduce_item item{};
    for (uint32_t s = 0; s < sources_; ++s) item.in[s] = At(in_[s], i, place);
    item.out = At(out_, i, place);
    item.elements = sizes_[i];
    item.sources = sources_;
    return item;
  }
  void refer(const fsk_reduce_item& item) override { Reference().reduce(type_, reduction_, item); }
  std::vector<const Array*> results() const override { return {&out_}; }
  uint64_t bytes_moved(uint64_t values, uint64_t /*quantised*/) const override {
    return values * (sources_ + 1);
  }

  fsk_reduction reduction_;
  uint32_t sources_;
  std::vector<Array> in_;
  Array out_;
};

}  // namespace

std::vector<std::unique_ptr<Case>> ElementCases() {
  std::vector<std::unique_ptr<Case>> cases;
  for (const fsk_type type : {FSK_BF16, FSK_FP32}) {
    for (const fsk_code code : {FSK_FP8_E4M3, FSK_INT8}) {
      cases.push_back(std::make_unique<QuantiseCase>(type, code, FSK_NEAREST));
      cases.push_back(std::make_unique<QuantiseCase>(type, code, FSK_STOCHASTIC));
      cases.push_back(std::make_unique<DequantiseCase>(type, code));
    }
  }
  for (const fsk_code code : {FSK_FP8_E4M3, FSK_INT8}) {
    cases.push_back(std::make_unique<AccumulateCase>(FSK_BF16, code, 1, false));
    cases.push_back(std::make_unique<AccumulateCase>(FSK_FP32, code, 3, false));
    cases.push_back(std::make_unique<AccumulateCase>(FSK_BF16, code, 4, true));
  }
  for (const fsk_type type : {FSK_BF16, FSK_FP16, FSK_FP32}) {
    cases.push_back(std::make_unique<ReduceCase>(type, FSK_SUM, 2));
    cases.push_back(std::make_unique<ReduceCase>(type, FSK_MAX, 2));
  }
  cases.push_back(std::make_unique<ReduceCase>(FSK_BF16, FSK_SUM, 8));
  return cases;
}

}  // namespace farspan::kernels::bench
