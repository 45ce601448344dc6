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
  }
  void fill(Device& device, const std::vector<uint8_t>& contents) {
    std::memcpy(here_.data() + offsets_[0], contents.data(),
                std::min(contents.size(), here_.size() - offsets_[0]));
    device.upload(there_.at(), here_.data(), here_.size());
  }
  void send(Device& device) { device.upload(there_.at(), here_.data(), here_.size()); }
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

class QuantiseCase final : public Case {
 public:
  QuantiseCase(fsk_type type, fsk_code code, fsk_rounding rounding)
      : type_(type), quantiser_{code, rounding, 0x5eed} {}

  std::string name() const override {
    return std::string("quantise ") + NameOf(type_) + " " + NameOf(quantiser_.code) +
           (quantiser_.rounding == FSK_STOCHASTIC ? " stochastic" : "");
  }

  void prepare(Device& device, const Shape& shape) override {
    const uint64_t elements = shape.bytes / WidthOf(type_);
    sizes_ = Split(elements, shape.items);
    values_ = Array(device, sizes_, WidthOf(type_), shape.displacement);
    codes_ = Array(device, sizes_, 1, shape.displacement);
    scales_ = Array(device, GroupsOf(sizes_), 4, shape.displacement);
    values_.fill(device, RandomValues(type_, values_.bytes() / WidthOf(type_), 1, shape.items > 1));
    items_.clear();
    for (size_t i = 0; i < sizes_.size(); ++i) {
      items_.push_back({values_.there(i), codes_.there(i), scales_.there<float>(i), sizes_[i],
                        kGroup * 1000 * i});
    }
    payload_ = elements * WidthOf(type_);
    moved_ = payload_ + elements + 4 * GroupsOf(elements);
  }

  fsk_status run(const fsk_exec& exec) override {
    return fsk_quantise(&exec, type_, &quantiser_, items_.data(), items_.size());
  }

  Outcome verify(Device& device) override {
    double error = 0;
    double norm = 0;
    for (size_t item = 0; item < sizes_.size(); ++item) {
      auto* scales = reinterpret_cast<float*>(scales_.here(item));
      Reference().quantise(type_, quantiser_,
                           {values_.here(item), codes_.here(item), scales, sizes_[item],
                            items_[item].first_element});
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
    return {codes_.same(device) && scales_.same(device), norm > 0 ? std::sqrt(error / norm) : -1};
  }

 private:
  fsk_type type_;
  fsk_quantiser quantiser_;
  std::vector<uint64_t> sizes_;
  Array values_;
  Array codes_;
  Array scales_;
  std::vector<fsk_quantise_item> items_;
};

// Codes of all kinds with reasonable scales, a few of which are NaN if asked for.
void FillQuantised(Device& device, Array& codes, Array& scales, uint64_t seed, bool special) {
  codes.fill(device, RandomBytes(codes.bytes(), seed));
  scales.fill(device, RandomValues(FSK_FP32, scales.bytes() / 4, seed, special));
}

class DequantiseCase final : public Case {
 public:
  DequantiseCase(fsk_type type, fsk_code code) : type_(type), code_(code) {}

  std::string name() const override {
    return std::string("dequantise ") + NameOf(code_) + " " + NameOf(type_);
  }

  void prepare(Device& device, const Shape& shape) override {
    const uint64_t elements = shape.bytes / WidthOf(type_);
    sizes_ = Split(elements, shape.items);
    values_ = Array(device, sizes_, WidthOf(type_), shape.displacement);
    codes_ = Array(device, sizes_, 1, shape.displacement);
    scales_ = Array(device, GroupsOf(sizes_), 4, shape.displacement);
    FillQuantised(device, codes_, scales_, 2, shape.items > 1);
    values_.send(device);
    items_.clear();
    for (size_t i = 0; i < sizes_.size(); ++i) {
      items_.push_back({codes_.there(i), scales_.there<float>(i), values_.there(i), sizes_[i]});
    }
    payload_ = elements * WidthOf(type_);
    moved_ = payload_ + elements + 4 * GroupsOf(elements);
  }

  fsk_status run(const fsk_exec& exec) override {
    return fsk_dequantise(&exec, type_, code_, items_.data(), items_.size());
  }

  Outcome verify(Device& device) override {
    for (size_t i = 0; i < sizes_.size(); ++i) {
      Reference().dequantise(
          type_, code_,
          {codes_.here(i), reinterpret_cast<float*>(scales_.here(i)), values_.here(i), sizes_[i]});
    }
    return {values_.same(device), -1};
  }

 private:
  fsk_type type_;
  fsk_code code_;
  std::vector<uint64_t> sizes_;
  Array values_;
  Array codes_;
  Array scales_;
  std::vector<fsk_dequantise_item> items_;
};

// base + sources -> values, or sources -> codes.
class AccumulateCase final : public Case {
 public:
  AccumulateCase(fsk_type type, fsk_code code, uint32_t sources, bool requantise)
      : type_(type), code_(code), sources_(sources), requantise_(requantise) {}

  std::string name() const override {
    return std::string("accumulate ") + std::to_string(sources_) + " " + NameOf(code_) +
           (requantise_ ? " to codes" : std::string(" on ") + NameOf(type_));
  }

  void prepare(Device& device, const Shape& shape) override {
    const uint64_t elements = shape.bytes / WidthOf(type_);
    const bool special = shape.items > 1;
    sizes_ = Split(elements, shape.items);
    codes_.clear();
    scales_.clear();
    for (uint32_t s = 0; s < sources_; ++s) {
      codes_.emplace_back(device, sizes_, 1, shape.displacement);
      scales_.emplace_back(device, GroupsOf(sizes_), 4, shape.displacement);
      FillQuantised(device, codes_[s], scales_[s], 10 + s, special);
    }
    base_ = Array(device, sizes_, WidthOf(type_), shape.displacement);
    values_ = Array(device, sizes_, WidthOf(type_), shape.displacement);
    out_codes_ = Array(device, sizes_, 1, shape.displacement);
    out_scales_ = Array(device, GroupsOf(sizes_), 4, shape.displacement);
    base_.fill(device, RandomValues(type_, base_.bytes() / WidthOf(type_), 3, special));
    items_.clear();
    for (size_t i = 0; i < sizes_.size(); ++i) {
      items_.push_back(item(i, [&](auto& array) { return array.there(i); }));
    }
    payload_ = elements * WidthOf(type_);
    const uint64_t quantised = elements + 4 * GroupsOf(elements);
    moved_ = sources_ * quantised + (requantise_ ? quantised : 2 * payload_);
  }

  fsk_status run(const fsk_exec& exec) override {
    const fsk_quantiser quantiser{code_, FSK_NEAREST, 0};
    return fsk_accumulate(&exec, type_, &quantiser, items_.data(), items_.size());
  }

  Outcome verify(Device& device) override {
    for (size_t i = 0; i < sizes_.size(); ++i) {
      Reference().accumulate(type_, {code_, FSK_NEAREST, 0},
                             item(i, [&](auto& array) { return array.here(i); }));
    }
    return {values_.same(device) && out_codes_.same(device) && out_scales_.same(device), -1};
  }

 private:
  template <typename At>
  fsk_accumulate_item item(size_t i, const At& at) {
    const auto floats = [&](Array& array) { return reinterpret_cast<float*>(at(array)); };
    fsk_accumulate_item item{};
    for (uint32_t s = 0; s < sources_; ++s) {
      item.codes[s] = at(codes_[s]);
      item.scales[s] = floats(scales_[s]);
    }
    if (requantise_) {
      item.out_codes = at(out_codes_);
      item.out_scales = floats(out_scales_);
    } else {
      item.base = at(base_);
      item.values = at(values_);
    }
    item.elements = sizes_[i];
    item.first_element = 0;
    item.sources = sources_;
    return item;
  }

  fsk_type type_;
  fsk_code code_;
  uint32_t sources_;
  bool requantise_;
  std::vector<uint64_t> sizes_;
  std::vector<Array> codes_;
  std::vector<Array> scales_;
  Array base_;
  Array values_;
  Array out_codes_;
  Array out_scales_;
  std::vector<fsk_accumulate_item> items_;
};

class ReduceCase final : public Case {
 public:
  ReduceCase(fsk_type type, fsk_reduction reduction, uint32_t sources)
      : type_(type), reduction_(reduction), sources_(sources) {}

  std::string name() const override {
    return std::string(reduction_ == FSK_MAX ? "max " : "sum ") + std::to_string(sources_) + " " +
           NameOf(type_);
  }

  void prepare(Device& device, const Shape& shape) override {
    const uint64_t elements = shape.bytes / WidthOf(type_);
    sizes_ = Split(elements, shape.items);
    in_.clear();
    for (uint32_t s = 0; s < sources_; ++s) {
      in_.emplace_back(device, sizes_, WidthOf(type_), shape.displacement);
      in_[s].fill(device, RandomValues(type_, in_[s].bytes() / WidthOf(type_), s, shape.items > 1));
    }
    out_ = Array(device, sizes_, WidthOf(type_), shape.displacement);
    out_.send(device);
    items_.clear();
    for (size_t i = 0; i < sizes_.size(); ++i) {
      items_.push_back(item(i, [&](auto& array) { return array.there(i); }));
    }
    payload_ = elements * WidthOf(type_);
    moved_ = payload_ * (sources_ + 1);
  }

  fsk_status run(const fsk_exec& exec) override {
    return fsk_reduce(&exec, type_, reduction_, items_.data(), items_.size());
  }

  Outcome verify(Device& device) override {
    for (size_t i = 0; i < sizes_.size(); ++i) {
      Reference().reduce(type_, reduction_, item(i, [&](auto& array) { return array.here(i); }));
    }
    return {out_.same(device), -1};
  }

 private:
  template <typename At>
  fsk_reduce_item item(size_t i, const At& at) {
    fsk_reduce_item item{};
    for (uint32_t s = 0; s < sources_; ++s) item.in[s] = at(in_[s]);
    item.out = at(out_);
    item.elements = sizes_[i];
    item.sources = sources_;
    return item;
  }

  fsk_type type_;
  fsk_reduction reduction_;
  uint32_t sources_;
  std::vector<uint64_t> sizes_;
  std::vector<Array> in_;
  Array out_;
  std::vector<fsk_reduce_item> items_;
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
