#include "kernels/validate.h"

#include <initializer_list>

#include "kernels/backend.h"
#include "kernels/math/galois.h"
#include "kernels/math/quantise.h"

namespace farspan::kernels {
namespace {

static_assert(kGroup == FSK_GROUP && kDataSymbolsMax == FSK_DATA_SYMBOLS_MAX &&
              kParitySymbolsMax == FSK_PARITY_SYMBOLS_MAX && kSymbolsMax <= 32 * FSK_LOST_WORDS);

// A buffer of an item: its place and what may be done with it.
struct Span {
  const char* name;
  const void* at;
  uint64_t bytes;
  uint64_t alignment;
};

fsk_status CheckSpan(const Span& span, size_t index) {
  if (!span.at) return Fail(FSK_BAD_ARGUMENT, "item %zu: %s is null", index, span.name);
  const auto address = reinterpret_cast<uintptr_t>(span.at);
  if (address % span.alignment != 0) {
    return Fail(FSK_BAD_ALIGNMENT, "item %zu: %s at %p is not aligned to %d bytes", index,
                span.name, span.at, static_cast<int>(span.alignment));
  }
  return FSK_OK;
}

bool Overlap(const Span& a, const Span& b) {
  const auto x = reinterpret_cast<uintptr_t>(a.at);
  const auto y = reinterpret_cast<uintptr_t>(b.at);
  return x < y + b.bytes && y < x + a.bytes;
}

fsk_status CheckApart(const Span& out, const Span& other, size_t index) {
  if (!Overlap(out, other)) return FSK_OK;
  return Fail(FSK_ALIASING, "item %zu: %s, which is written, overlaps %s", index, out.name,
              other.name);
}

// As CheckApart, but the same place is allowed.
fsk_status CheckApartOrSame(const Span& out, const Span& other, size_t index) {
  return out.at == other.at ? FSK_OK : CheckApart(out, other, index);
}

// The last failure, whose message stands; all are evaluated.
fsk_status AllOf(std::initializer_list<fsk_status> statuses) {
  fsk_status result = FSK_OK;
  for (const fsk_status status : statuses) result = status ? status : result;
  return result;
}

uint64_t BytesOf(fsk_type type) { return type == FSK_FP32 ? 4 : 2; }
uint64_t GroupsOf(uint64_t elements) { return (elements + kGroup - 1) / kGroup; }

fsk_status CheckElements(uint64_t elements, size_t index) {
  if (elements <= FSK_ELEMENTS_MAX) return FSK_OK;
  return Fail(FSK_BAD_ARGUMENT, "item %zu: more than 2^40 elements", index);
}

fsk_status CheckFirst(uint64_t first_element, size_t index) {
  if (first_element % kGroup == 0) return FSK_OK;
  return Fail(FSK_BAD_ARGUMENT, "item %zu: first_element is not a multiple of %u", index, kGroup);
}

fsk_status CheckSources(uint32_t sources, size_t index) {
  if (sources >= 1 && sources <= FSK_SOURCES_MAX) return FSK_OK;
  return Fail(FSK_BAD_ARGUMENT, "item %zu: %u sources, expected 1 to %u", index, sources,
              FSK_SOURCES_MAX);
}

struct Quantised {
  Span codes;
  Span scales;
};
Quantised QuantisedSpans(const char* codes_name, const uint8_t* codes, const char* scales_name,
                         const float* scales, uint64_t elements) {
  return {{codes_name, codes, elements, 1}, {scales_name, scales, 4 * GroupsOf(elements), 4}};
}

}  // namespace

fsk_status CheckExec(const fsk_exec* exec) {
  if (!exec) return Fail(FSK_BAD_ARGUMENT, "exec is null");
  if (exec->abi_version != FSK_ABI_VERSION) {
    return Fail(FSK_BAD_VERSION, "exec.abi_version is %u, this library has %u", exec->abi_version,
                FSK_ABI_VERSION);
  }
  if (exec->device != FSK_CPU && exec->device != FSK_CUDA) {
    return Fail(FSK_BAD_ARGUMENT, "exec.device is %d, expected FSK_CPU or FSK_CUDA", exec->device);
  }
  return FSK_OK;
}

fsk_status CheckItems(const void* items, size_t count) {
  return items || count == 0 ? FSK_OK : Fail(FSK_BAD_ARGUMENT, "items is null");
}

fsk_status CheckType(fsk_type type, bool allow_fp16) {
  if (type == FSK_FP32 || type == FSK_BF16 || (allow_fp16 && type == FSK_FP16)) return FSK_OK;
  return Fail(FSK_BAD_ARGUMENT, "type %d is not one that this operation takes", type);
}

fsk_status CheckCode(fsk_code code) {
  if (code == FSK_FP8_E4M3 || code == FSK_INT8) return FSK_OK;
  return Fail(FSK_BAD_ARGUMENT, "code is %d, expected FSK_FP8_E4M3 or FSK_INT8", code);
}

fsk_status CheckQuantiser(const fsk_quantiser* quantiser) {
  if (!quantiser) return Fail(FSK_BAD_ARGUMENT, "quantiser is null");
  if (quantiser->rounding != FSK_NEAREST && quantiser->rounding != FSK_STOCHASTIC) {
    return Fail(FSK_BAD_ARGUMENT, "rounding is %d, expected FSK_NEAREST or FSK_STOCHASTIC",
                quantiser->rounding);
  }
  return CheckCode(quantiser->code);
}

fsk_status CheckParityCode(const fsk_parity_code* code) {
  if (!code) return Fail(FSK_BAD_ARGUMENT, "code is null");
  if (code->kind != FSK_RS && code->kind != FSK_XOR) {
    return Fail(FSK_BAD_ARGUMENT, "kind is %d, expected FSK_RS or FSK_XOR", code->kind);
  }
  if (code->k < 1 || code->k > kDataSymbolsMax) {
    return Fail(FSK_BAD_ARGUMENT, "k is %u, expected 1 to %u", code->k, kDataSymbolsMax);
  }
  if (code->m < 1 || code->m > kParitySymbolsMax) {
    return Fail(FSK_BAD_ARGUMENT, "m is %u, expected 1 to %u", code->m, kParitySymbolsMax);
  }
  if (code->kind == FSK_XOR && (code->first != 0 || code->m > code->k)) {
    return Fail(FSK_BAD_ARGUMENT, "xor: first is %u and m is %u, expected 0 and at most k",
                code->first, code->m);
  }
  if (code->first > kParitySymbolsMax - code->m) {
    return Fail(FSK_BAD_ARGUMENT, "first + m is above %u", kParitySymbolsMax);
  }
  return FSK_OK;
}

fsk_status Check(fsk_type type, const fsk_quantise_item& item, size_t index) {
  if (const fsk_status status = CheckElements(item.elements, index)) return status;
  if (item.elements == 0) return FSK_OK;
  const Span values{"values", item.values, item.elements * BytesOf(type), BytesOf(type)};
  const auto [codes, scales] =
      QuantisedSpans("codes", item.codes, "scales", item.scales, item.elements);
  return AllOf({CheckFirst(item.first_element, index), CheckSpan(values, index),
                CheckSpan(codes, index), CheckSpan(scales, index), CheckApart(codes, values, index),
                CheckApart(scales, values, index), CheckApart(scales, codes, index)});
}

fsk_status Check(fsk_type type, const fsk_dequantise_item& item, size_t index) {
  if (const fsk_status status = CheckElements(item.elements, index)) return status;
  if (item.elements == 0) return FSK_OK;
  const Span values{"values", item.values, item.elements * BytesOf(type), BytesOf(type)};
  const auto [codes, scales] =
      QuantisedSpans("codes", item.codes, "scales", item.scales, item.elements);
  return AllOf({CheckSpan(values, index), CheckSpan(codes, index), CheckSpan(scales, index),
                CheckApart(values, codes, index), CheckApart(values, scales, index)});
}

namespace {

// The outputs of an accumulation against one source.
fsk_status CheckSource(const Quantised& source, const Quantised& out, const Span& values,
                       size_t index) {
  if (const fsk_status status =
          AllOf({CheckSpan(source.codes, index), CheckSpan(source.scales, index)})) {
    return status;
  }
  if (values.at) {
    if (const fsk_status status = AllOf(
            {CheckApart(values, source.codes, index), CheckApart(values, source.scales, index)})) {
      return status;
    }
  }
  if (!out.codes.at) return FSK_OK;
  const bool in_place = out.codes.at == source.codes.at && out.scales.at == source.scales.at;
  if (in_place) return FSK_OK;
  return AllOf(
      {CheckApart(out.codes, source.codes, index), CheckApart(out.codes, source.scales, index),
       CheckApart(out.scales, source.codes, index), CheckApart(out.scales, source.scales, index)});
}

fsk_status CheckOutputs(const Quantised& out, const Span& values, const Span& base, size_t index) {
  if (!values.at && !out.codes.at) {
    return Fail(FSK_BAD_ARGUMENT, "item %zu: neither values nor out_codes is given", index);
  }
  if (!out.codes.at != !out.scales.at) {
    return Fail(FSK_BAD_ARGUMENT, "item %zu: out_codes and out_scales go together", index);
  }
  for (const Span& buffer : {values, base}) {
    if (!buffer.at) continue;
    if (const fsk_status status = CheckSpan(buffer, index)) return status;
    if (!out.codes.at) continue;
    if (const fsk_status status =
            AllOf({CheckApart(out.codes, buffer, index), CheckApart(out.scales, buffer, index)})) {
      return status;
    }
  }
  if (values.at && base.at) {
    if (const fsk_status status = CheckApartOrSame(values, base, index)) return status;
  }
  if (!out.codes.at) return FSK_OK;
  return AllOf({CheckSpan(out.scales, index), CheckApart(out.scales, out.codes, index)});
}

}  // namespace

fsk_status Check(fsk_type type, const fsk_accumulate_item& item, size_t index) {
  if (const fsk_status status =
          AllOf({CheckElements(item.elements, index), CheckSources(item.sources, index),
                 CheckFirst(item.first_element, index)})) {
    return status;
  }
  if (item.elements == 0) return FSK_OK;
  const uint64_t bytes = item.elements * BytesOf(type);
  const Span values{"values", item.values, bytes, BytesOf(type)};
  const Span base{"base", item.base, bytes, BytesOf(type)};
  const Quantised out =
      QuantisedSpans("out_codes", item.out_codes, "out_scales", item.out_scales, item.elements);
  if (const fsk_status status = CheckOutputs(out, values, base, index)) return status;
  for (uint32_t s = 0; s < item.sources; ++s) {
    const Quantised source =
        QuantisedSpans("codes", item.codes[s], "scales", item.scales[s], item.elements);
    if (const fsk_status status = CheckSource(source, out, values, index)) return status;
  }
  return FSK_OK;
}

fsk_status Check(fsk_type type, const fsk_reduce_item& item, size_t index) {
  if (const fsk_status status =
          AllOf({CheckElements(item.elements, index), CheckSources(item.sources, index)})) {
    return status;
  }
  if (item.elements == 0) return FSK_OK;
  const uint64_t bytes = item.elements * BytesOf(type);
  const Span out{"out", item.out, bytes, BytesOf(type)};
  if (const fsk_status status = CheckSpan(out, index)) return status;
  for (uint32_t s = 0; s < item.sources; ++s) {
    const Span in{"in", item.in[s], bytes, BytesOf(type)};
    if (const fsk_status status = AllOf({CheckSpan(in, index), CheckApartOrSame(out, in, index)})) {
      return status;
    }
  }
  return FSK_OK;
}

namespace {

fsk_status CheckLayout(const fsk_parity_code& code, const fsk_stripe& s, size_t index) {
  if (s.symbol_bytes > 1u << 30) {
    return Fail(FSK_BAD_ARGUMENT, "item %zu: symbol_bytes is above 2^30", index);
  }
  if (s.data_symbols < 1 || s.data_symbols > code.k) {
    return Fail(FSK_BAD_ARGUMENT, "item %zu: data_symbols is %u, expected 1 to k", index,
                s.data_symbols);
  }
  if (s.last_bytes < 1 || s.last_bytes > s.symbol_bytes) {
    return Fail(FSK_BAD_ARGUMENT, "item %zu: last_bytes is not 1 to symbol_bytes", index);
  }
  if (s.data_stride < s.symbol_bytes || s.parity_stride < s.symbol_bytes ||
      s.data_stride > 1ull << 40 || s.parity_stride > 1ull << 40) {
    return Fail(FSK_BAD_ARGUMENT, "item %zu: a stride is not symbol_bytes to 2^40", index);
  }
  const Span data{"data", s.data, (s.data_symbols - 1) * s.data_stride + s.last_bytes, 1};
  const Span parity{"parity", s.parity, (code.m - 1) * s.parity_stride + s.symbol_bytes, 1};
  return AllOf({CheckSpan(data, index), CheckSpan(parity, index), CheckApart(parity, data, index)});
}

fsk_status CheckRecoverable(const fsk_parity_code& code, const fsk_stripe& s, size_t index) {
  for (uint32_t i = s.data_symbols; i < 32 * FSK_LOST_WORDS; ++i) {
    if ((i < code.k || i >= code.k + code.m) && IsLost(s.lost, i)) {
      return Fail(FSK_BAD_ARGUMENT, "item %zu: lost symbol %u does not exist", index, i);
    }
  }
  uint32_t spare[kParitySymbolsMax] = {};  // per set of the code: survivors less losses
  const uint32_t sets = code.kind == FSK_XOR ? code.m : 1;
  for (uint32_t r = 0; r < code.m; ++r) spare[r % sets] += IsLost(s.lost, code.k + r) ? 0 : 1;
  for (uint32_t i = 0; i < s.data_symbols; ++i) {
    if (IsLost(s.lost, i) && spare[i % sets]-- == 0) {
      return Fail(FSK_UNRECOVERABLE, "item %zu: more data symbols lost than parity can give back",
                  index);
    }
  }
  return FSK_OK;
}

}  // namespace

fsk_status Check(const fsk_parity_code& code, bool decode, const fsk_stripe& stripe, size_t index) {
  if (stripe.symbol_bytes == 0) return FSK_OK;
  if (const fsk_status status = CheckLayout(code, stripe, index)) return status;
  return decode ? CheckRecoverable(code, stripe, index) : FSK_OK;
}

fsk_status Check(const fsk_packets& packets, size_t index) {
  if (packets.packets == 0) return FSK_OK;
  if (packets.packets > 1ull << 40 || packets.packet_bytes > 1u << 30 ||
      packets.last_bytes > packets.packet_bytes || packets.stride > 1u << 30) {
    return Fail(
        FSK_BAD_ARGUMENT,
        "item %zu: packet_bytes and stride are at most 2^30, last_bytes at most packet_bytes",
        index);
  }
  if (packets.packets > 1 && packets.stride < packets.packet_bytes) {
    return Fail(FSK_BAD_ARGUMENT, "item %zu: stride is less than packet_bytes", index);
  }
  const Span crcs{"crcs", packets.crcs, 4 * packets.packets, 4};
  if (const fsk_status status = CheckSpan(crcs, index)) return status;
  if (packets.packet_bytes == 0) return FSK_OK;
  const Span data{"data", packets.data, (packets.packets - 1) * packets.stride + packets.last_bytes,
                  1};
  return AllOf({CheckSpan(data, index), CheckApart(crcs, data, index)});
}

}  // namespace farspan::kernels
