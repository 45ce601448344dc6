#include <algorithm>
#include <cstring>
#include <random>

#include "kernels/bench/case.h"
#include "kernels/cpu/crc32c.h"
#include "kernels/math/galois.h"

namespace farspan::kernels::bench {
namespace {

constexpr uint64_t kSymbol = 4096;

// Stripes one after another, each k + m symbols in a row. Decoding loses as many data symbols as
// the code bears, others in every stripe, and finds them spoilt.
class ParityCase final : public Case {
 public:
  ParityCase(fsk_parity_kind kind, uint32_t k, uint32_t m, bool decode)
      : code_{kind, k, 0, m}, decode_(decode) {}

  std::string name() const override {
    return std::string(code_.kind == FSK_RS ? "rs" : "xor") + "(" + std::to_string(code_.k) + "," +
           std::to_string(code_.m) + ") " + (decode_ ? "decode" : "encode");
  }

  void prepare(Device& device, const Shape& shape) override {
    const bool odd = shape.items > 1;
    const uint64_t symbol = odd ? 1 + shape.bytes / shape.items / code_.k : kSymbol;
    const uint64_t count =
        odd ? shape.items : std::max<uint64_t>(1, shape.bytes / symbol / code_.k);
    stripe_bytes_ = symbol * (code_.k + code_.m);
    here_ = RandomBytes(count * stripe_bytes_ + shape.displacement, 4);
    there_ = Buffer(device, here_.size() + 1);
    workspace_bytes_ = fsk_parity_workspace(device.kind(), &code_, count);
    workspace_ = Buffer(device, workspace_bytes_);
    stripes_.clear();
    for (uint64_t i = 0; i < count; ++i) {
      fsk_stripe s{};
      s.data = there_.at(i * stripe_bytes_ + shape.displacement);
      s.parity = s.data + code_.k * symbol;
      s.data_stride = s.parity_stride = s.symbol_bytes = symbol;
      s.data_symbols = odd ? 1 + static_cast<uint32_t>(i * 7 % code_.k) : code_.k;
      s.last_bytes = odd ? 1 + i * 13 % symbol : symbol;
      stripes_.push_back(s);
    }
    payload_ = count * code_.k * symbol;
    moved_ = count * symbol * (code_.k + code_.m);
    if (decode_) lose(device);
    device.upload(there_.at(), here_.data(), here_.size());
  }

  fsk_status run(const fsk_exec& exec) override {
    return run_on(exec, stripes_, workspace_.at(), workspace_bytes_);
  }

  // A GPU against the CPU; the CPU, which may be a library, against sums of products.
  Outcome verify(Device& device) override {
    std::vector<uint8_t> result(here_.size());
    device.download(result.data(), there_.at(), result.size());
    if (decode_) return {result == original_, -1};
    std::vector<uint8_t> matrix(code_.m * code_.k);
    fsk_parity_matrix(&code_, matrix.data());
    for (size_t i = 0; i < stripes_.size(); i += 1 + stripes_.size() / 64) {
      if (!parity_is_right(stripes_[i], result, matrix)) return {false, -1};
    }
    const uint64_t untouched = static_cast<uint64_t>(stripes_[0].data - there_.at());
    return {std::equal(here_.begin(), here_.begin() + static_cast<int64_t>(untouched),
                       result.begin()) &&
                data_is_untouched(result),
            -1};
  }

 private:
  fsk_status run_on(fsk_exec exec, const std::vector<fsk_stripe>& stripes, void* workspace,
                    size_t bytes) const {
    exec.workspace = workspace;
    exec.workspace_bytes = bytes;
    return (decode_ ? fsk_parity_decode : fsk_parity_encode)(&exec, &code_, stripes.data(),
                                                             stripes.size());
  }

  uint64_t offset(const uint8_t* there) const { return static_cast<uint64_t>(there - there_.at()); }

  // Makes good parity here by the CPU, then spoils the lost symbols.
  void lose(Device&) {
    std::vector<fsk_stripe> local = stripes_;
    for (fsk_stripe& s : local) {
      s.data = here_.data() + offset(s.data);
      s.parity = here_.data() + offset(s.parity);
    }
    const size_t bytes = fsk_parity_workspace(FSK_CPU, &code_, 1);
    std::vector<uint8_t> memory(bytes + FSK_WORKSPACE_ALIGNMENT);
    void* aligned = memory.data();
    size_t room = memory.size();
    std::align(FSK_WORKSPACE_ALIGNMENT, bytes, aligned, room);
    const fsk_exec exec{FSK_ABI_VERSION, FSK_CPU, nullptr, 0, aligned, bytes};
    fsk_parity_encode(&exec, &code_, local.data(), local.size());
    original_ = here_;
    std::mt19937 engine(9);
    for (size_t i = 0; i < local.size(); ++i) {
      const uint32_t losses = std::min(code_.m, local[i].data_symbols);
      // xor: neighbours are of different sets, as long as there are no more than m
      const auto first = static_cast<uint32_t>(engine() % (local[i].data_symbols - losses + 1));
      for (uint32_t s = first; s < first + losses; ++s) {
        stripes_[i].lost[s / 32] |= 1u << s % 32;
        std::memset(local[i].data + s * local[i].data_stride, 0x5a,
                    s + 1 == local[i].data_symbols ? local[i].last_bytes : local[i].symbol_bytes);
      }
    }
  }

  bool parity_is_right(const fsk_stripe& s, const std::vector<uint8_t>& result,
                       const std::vector<uint8_t>& matrix) const {
    constexpr Galois kField;
    for (uint32_t r = 0; r < code_.m; ++r) {
      for (uint64_t b = 0; b < s.symbol_bytes; b += 1 + s.symbol_bytes / 32) {
        uint8_t sum = 0;
        for (uint32_t i = 0; i < s.data_symbols; ++i) {
          if (i + 1 == s.data_symbols && b >= s.last_bytes) continue;
          sum ^= GaloisProduct(kField, matrix[r * code_.k + i],
                               result[offset(s.data) + i * s.data_stride + b]);
        }
        if (result[offset(s.parity) + r * s.parity_stride + b] != sum) return false;
      }
    }
    return true;
  }

  bool data_is_untouched(const std::vector<uint8_t>& result) const {
    return std::all_of(stripes_.begin(), stripes_.end(), [&](const fsk_stripe& s) {
      return std::memcmp(&result[offset(s.data)], &here_[offset(s.data)],
                         code_.k * s.data_stride) == 0;
    });
  }

  fsk_parity_code code_;
  bool decode_;
  uint64_t stripe_bytes_ = 0;
  std::vector<uint8_t> here_;
  std::vector<uint8_t> original_;
  Buffer there_;
  Buffer workspace_;
  size_t workspace_bytes_ = 0;
  std::vector<fsk_stripe> stripes_;
};

class CrcCase final : public Case {
 public:
  explicit CrcCase(uint32_t packet_bytes) : packet_bytes_(packet_bytes) {}

  std::string name() const override { return "crc32c " + std::to_string(packet_bytes_); }

  void prepare(Device& device, const Shape& shape) override {
    const uint64_t packets = std::max<uint64_t>(1, shape.bytes / packet_bytes_);
    here_ = RandomBytes(packets * packet_bytes_ + shape.displacement, 6);
    there_ = Buffer(device, here_.size() + 1);
    crcs_ = Buffer(device, 4 * packets);
    device.upload(there_.at(), here_.data(), here_.size());
    items_.clear();
    uint64_t first = 0;
    for (const uint64_t count : Split(packets, shape.items)) {
      items_.push_back({there_.at(first * packet_bytes_ + shape.displacement), packet_bytes_,
                        packet_bytes_, shape.items > 1 ? packet_bytes_ / 3 : packet_bytes_, count,
                        reinterpret_cast<uint32_t*>(crcs_.at(4 * first))});
      first += count;
    }
    packets_ = packets;
    payload_ = packets * packet_bytes_;
    moved_ = payload_ + 4 * packets;
  }

  fsk_status run(const fsk_exec& exec) override {
    return fsk_crc32c(&exec, items_.data(), items_.size());
  }

  Outcome verify(Device& device) override {
    std::vector<uint32_t> crcs(packets_);
    device.download(crcs.data(), crcs_.at(), 4 * packets_);
    size_t next = 0;
    for (const fsk_packets& item : items_) {
      for (uint64_t p = 0; p < item.packets; ++p) {
        const uint32_t bytes = p + 1 == item.packets ? item.last_bytes : item.packet_bytes;
        const uint8_t* at = here_.data() + (item.data - there_.at()) + p * item.stride;
        if (crcs[next++] != Crc32cByTables(at, bytes)) return {false, -1};
      }
    }
    return {};
  }

 private:
  uint32_t packet_bytes_;
  uint64_t packets_ = 0;
  std::vector<uint8_t> here_;
  Buffer there_;
  Buffer crcs_;
  std::vector<fsk_packets> items_;
};

}  // namespace

std::vector<std::unique_ptr<Case>> PacketCases() {
  std::vector<std::unique_ptr<Case>> cases;
  for (const bool decode : {false, true}) {
    cases.push_back(std::make_unique<ParityCase>(FSK_XOR, 32, 8, decode));
    cases.push_back(std::make_unique<ParityCase>(FSK_RS, 32, 8, decode));
    cases.push_back(std::make_unique<ParityCase>(FSK_RS, 128, 10, decode));
    cases.push_back(std::make_unique<ParityCase>(FSK_RS, 128, 32, decode));
  }
  for (const uint32_t packet : {4096u, 1500u}) cases.push_back(std::make_unique<CrcCase>(packet));
  return cases;
}

}  // namespace farspan::kernels::bench
