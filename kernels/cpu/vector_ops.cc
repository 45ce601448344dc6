// Compiled once per instruction set (FARSPAN_ISA_OPS, FARSPAN_ISA_NAME): the compiler vectorises
// the arithmetic of kernels/math. Work goes group by group through buffers that stay in the first
// cache; large outputs leave it by non-temporal stores, which spare reading what will be
// overwritten.
//
// No function of the standard library's headers is used: an inline function that the linker merges
// between instruction sets could be one that this machine cannot run.
#include "kernels/cpu/vector_ops.h"

#include <string.h>

#ifdef __x86_64__
#include <immintrin.h>
#endif

#include "kernels/math/element.h"
#include "kernels/math/philox.h"
#include "kernels/math/quantise.h"

namespace farspan::kernels {

#if defined(__AVX512F__)
constexpr uint32_t kLanes = 16;
#elif defined(__AVX2__)
constexpr uint32_t kLanes = 8;
#else
constexpr uint32_t kLanes = 4;
#endif

// One vector register.
using U = uint32_t __attribute__((vector_size(4 * kLanes)));
using I = int32_t __attribute__((vector_size(4 * kLanes)));
using F = float __attribute__((vector_size(4 * kLanes)));

using Wide = uint64_t __attribute__((vector_size(4 * kLanes)));

// Of the low halves of 64-bit lanes: gcc 12 would multiply the high ones too.
FARSPAN_INLINE Wide Product(Wide a, Wide b) {
#if defined(__AVX512F__)
  return __builtin_bit_cast(
      Wide, _mm512_mul_epu32(__builtin_bit_cast(__m512i, a), __builtin_bit_cast(__m512i, b)));
#elif defined(__AVX2__)
  return __builtin_bit_cast(
      Wide, _mm256_mul_epu32(__builtin_bit_cast(__m256i, a), __builtin_bit_cast(__m256i, b)));
#elif defined(__x86_64__)
  return __builtin_bit_cast(
      Wide, _mm_mul_epu32(__builtin_bit_cast(__m128i, a), __builtin_bit_cast(__m128i, b)));
#else
  return a * b;
#endif
}

struct VectorLanes {
  using U = kernels::U;
  using I = kernels::I;
  using F = kernels::F;
  FARSPAN_INLINE F converted(I value) { return __builtin_convertvector(value, F); }
  FARSPAN_INLINE I larger(I a, I b) {
#if defined(__AVX512F__)
    return __builtin_bit_cast(
        I, _mm512_max_epi32(__builtin_bit_cast(__m512i, a), __builtin_bit_cast(__m512i, b)));
#else
    return a > b ? a : b;
#endif
  }
  FARSPAN_INLINE U product_high(U a, uint32_t b) {
    const auto even = __builtin_bit_cast(Wide, a) & 0xffffffff;
    const auto odd = __builtin_bit_cast(Wide, a) >> 32;
    const Wide factor = Wide{} + b;
    return __builtin_bit_cast(
        U, (Product(even, factor) >> 32) | (Product(odd, factor) & 0xffffffff00000000));
  }
};
template <>
struct Lanes<U> : VectorLanes {};
template <>
struct Lanes<I> : VectorLanes {};
template <>
struct Lanes<F> : VectorLanes {};

namespace {

constexpr uint32_t kVectors = kGroup / kLanes;

// Widening and narrowing by hand: gcc 12 takes __builtin_convertvector apart lane by lane.
#if defined(__AVX512F__)
FARSPAN_INLINE U LoadVector(const uint8_t* from) {
  return __builtin_bit_cast(
      U, _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from))));
}
FARSPAN_INLINE U LoadVector(const uint16_t* from) {
  return __builtin_bit_cast(
      U, _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from))));
}
FARSPAN_INLINE void StoreVector(U lanes, uint8_t* to) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to),
                   _mm512_cvtepi32_epi8(__builtin_bit_cast(__m512i, lanes)));
}
FARSPAN_INLINE void StoreVector(U lanes, uint16_t* to) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to),
                      _mm512_cvtepi32_epi16(__builtin_bit_cast(__m512i, lanes)));
}
#elif defined(__AVX2__)
FARSPAN_INLINE U LoadVector(const uint8_t* from) {
  return __builtin_bit_cast(
      U, _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from))));
}
FARSPAN_INLINE U LoadVector(const uint16_t* from) {
  return __builtin_bit_cast(
      U, _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from))));
}
FARSPAN_INLINE void StoreVector(U lanes, uint8_t* to) {
  const __m256i low_bytes =
      _mm256_setr_epi8(0, 4, 8, 12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, 0, 4, 8, 12, -1,
                       -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1);
  const __m256i packed = _mm256_shuffle_epi8(__builtin_bit_cast(__m256i, lanes), low_bytes);
  _mm_storel_epi64(
      reinterpret_cast<__m128i*>(to),
      _mm_unpacklo_epi32(_mm256_castsi256_si128(packed), _mm256_extracti128_si256(packed, 1)));
}
FARSPAN_INLINE void StoreVector(U lanes, uint16_t* to) {
  const auto low = __builtin_bit_cast(__m256i, lanes & 0xffff);
  const __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(low, low), 0x08);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm256_castsi256_si128(packed));
}
#else
template <typename Raw>
FARSPAN_INLINE U LoadVector(const Raw* from) {
  return U{from[0], from[1], from[2], from[3]};
}
template <typename Raw>
FARSPAN_INLINE void StoreVector(U lanes, Raw* to) {
  for (uint32_t lane = 0; lane < kLanes; ++lane) to[lane] = static_cast<Raw>(lanes[lane]);
}
#endif
#if defined(__AVX2__)
FARSPAN_INLINE U LoadVector(const uint32_t* from) {
  U lanes;
  memcpy(&lanes, from, sizeof lanes);
  return lanes;
}
FARSPAN_INLINE void StoreVector(U lanes, uint32_t* to) { memcpy(to, &lanes, sizeof lanes); }
#endif

FARSPAN_INLINE uint32_t LargestLane(U magnitudes) {
#if defined(__AVX512F__)
  return _mm512_reduce_max_epu32(__builtin_bit_cast(__m512i, magnitudes));
#elif defined(__AVX2__)
  const auto all = __builtin_bit_cast(__m256i, magnitudes);
  __m128i four = _mm_max_epi32(_mm256_castsi256_si128(all), _mm256_extracti128_si256(all, 1));
  four = _mm_max_epi32(four, _mm_shuffle_epi32(four, 0x4e));
  four = _mm_max_epi32(four, _mm_shuffle_epi32(four, 0xb1));
  return static_cast<uint32_t>(_mm_cvtsi128_si32(four));
#else
  return Larger(Larger(magnitudes[0], magnitudes[1]), Larger(magnitudes[2], magnitudes[3]));
#endif
}

// Lane 4 g + i gets the number i × kLanes / 4 + g, because that is the order in which StoreByLane
// leaves lanes behind.
FARSPAN_INLINE U LaneNumbers() {
  U numbers{};
  for (uint32_t lane = 0; lane < kLanes; ++lane) numbers[lane] = lane % 4 * (kLanes / 4) + lane / 4;
  return numbers;
}

// The four words of each lane together, lanes in the order of LaneNumbers: a 4 × 4 transposition.
FARSPAN_INLINE void StoreByLane(const U (&words)[4], void* to) {
#if defined(__AVX512F__)
#define FARSPAN_UNPACK(half, bits, a, b) _mm512_unpack##half##_epi##bits(a, b)
  using Register = __m512i;
#elif defined(__AVX2__)
#define FARSPAN_UNPACK(half, bits, a, b) _mm256_unpack##half##_epi##bits(a, b)
  using Register = __m256i;
#elif defined(__x86_64__)
#define FARSPAN_UNPACK(half, bits, a, b) _mm_unpack##half##_epi##bits(a, b)
  using Register = __m128i;
#endif
#ifdef FARSPAN_UNPACK
  Register w[4];
  memcpy(w, words, sizeof w);
  const Register low01 = FARSPAN_UNPACK(lo, 32, w[0], w[1]);
  const Register low23 = FARSPAN_UNPACK(lo, 32, w[2], w[3]);
  const Register high01 = FARSPAN_UNPACK(hi, 32, w[0], w[1]);
  const Register high23 = FARSPAN_UNPACK(hi, 32, w[2], w[3]);
  const Register rows[4] = {
      FARSPAN_UNPACK(lo, 64, low01, low23), FARSPAN_UNPACK(hi, 64, low01, low23),
      FARSPAN_UNPACK(lo, 64, high01, high23), FARSPAN_UNPACK(hi, 64, high01, high23)};
  memcpy(to, rows, sizeof rows);
#undef FARSPAN_UNPACK
#else
  for (uint32_t i = 0; i < 4 * kLanes; ++i) {
    static_cast<uint32_t*>(to)[i] = words[i % 4][i / 4];
  }
#endif
}

constexpr uint64_t kStreamBytes = 8 << 20;  // outputs from here on would not stay in a cache

// Copies finished pieces of an item's output to where they belong.
class Output {
 public:
  Output(void* to, uint64_t total_bytes) : to_(static_cast<uint8_t*>(to)) {
#ifdef __x86_64__
    stream_ = total_bytes >= kStreamBytes && reinterpret_cast<uintptr_t>(to) % 64 == 0;
#else
    (void)total_bytes;
#endif
  }
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;
  ~Output() {
#ifdef __x86_64__
    if (stream_) _mm_sfence();
#endif
  }

  template <uint64_t kBytes>
  inline __attribute__((always_inline)) void put(const void* from, uint64_t bytes) {
    if (bytes != kBytes) {
      memcpy(to_, from, bytes);
    } else if (stream_) {
      stream<kBytes>(from);
    } else {
      memcpy(to_, from, kBytes);
    }
    to_ += bytes;
  }

 private:
  template <uint64_t kBytes>
  inline __attribute__((always_inline)) void stream(const void* from) {
    static_assert(kBytes % 64 == 0);
#if defined(__AVX512F__)
    for (uint64_t i = 0; i < kBytes; i += 64) {
      _mm512_stream_si512(reinterpret_cast<__m512i*>(to_ + i),
                          _mm512_loadu_si512(static_cast<const uint8_t*>(from) + i));
    }
#elif defined(__x86_64__)
    for (uint64_t i = 0; i < kBytes; i += 16) {
      const auto* source = reinterpret_cast<const __m128i*>(static_cast<const uint8_t*>(from) + i);
      _mm_stream_si128(reinterpret_cast<__m128i*>(to_ + i), _mm_loadu_si128(source));
    }
#else
    memcpy(to_, from, kBytes);
#endif
  }

  uint8_t* to_;
  bool stream_ = false;
};

struct alignas(64) Group {
  F x[kVectors];
};

FARSPAN_INLINE uint64_t Least(uint64_t a, uint64_t b) { return a < b ? a : b; }

// `from` if it has a whole group, else its `count` elements in `padded`, zeros after them.
template <typename Raw>
FARSPAN_INLINE const Raw* Padded(const void* from, uint64_t count, Raw (&padded)[kGroup]) {
  if (count == kGroup) return static_cast<const Raw*>(from);
  memset(padded, 0, sizeof padded);
  memcpy(padded, from, count * sizeof(Raw));
  return padded;
}

template <typename Type>
FARSPAN_INLINE void Load(const void* from, uint64_t count, Group& to) {
  alignas(64) typename Type::Raw padded[kGroup];
  const auto* raw = Padded(from, count, padded);
  for (uint32_t v = 0; v < kVectors; ++v) to.x[v] = Type::load(LoadVector(raw + v * kLanes));
}

template <typename Type>
FARSPAN_INLINE void Store(const Group& from, uint64_t count, Output& to) {
  alignas(64) typename Type::Raw raw[kGroup];
  for (uint32_t v = 0; v < kVectors; ++v)
    StoreVector(Type::template store<U>(from.x[v]), raw + v * kLanes);
  to.put<sizeof raw>(raw, count * sizeof raw[0]);
}

// 16 bits for each element of a group; one lane of the vectors is one counter.
FARSPAN_INLINE void RandomOfGroup(uint64_t first_element, uint64_t seed, uint16_t* random) {
  constexpr uint32_t kCounters = kGroup / kPhiloxElements;
  const uint64_t counter = first_element / kPhiloxElements;  // the lanes share its high word
  for (uint32_t c = 0; c < kCounters; c += kLanes) {
    U words[4];
    Philox(LaneNumbers() + (static_cast<uint32_t>(counter) + c),
           static_cast<uint32_t>(counter >> 32), seed, words);
    StoreByLane(words, random + c * kPhiloxElements);
  }
}

template <typename Code, bool kStochastic>
FARSPAN_INLINE float QuantiseGroup(const Group& group, uint64_t first_element, uint64_t seed,
                                   uint8_t* codes) {
  U largest = Word<U>(0);
  for (const F x : group.x) largest = Larger(largest, Magnitude(BitsOf(x)));
  const GroupScale scale = ScaleOfGroup(LargestLane(largest), Code::kTop);
  if (scale.poisoned) {
    memset(codes, 0, kGroup);
  } else if constexpr (kStochastic) {
    alignas(64) uint16_t random[kGroup];
    RandomOfGroup(first_element, seed, random);
    for (uint32_t v = 0; v < kVectors; ++v) {
      const U code = Code::stochastic(group.x[v] * scale.inverse, LoadVector(random + v * kLanes));
      StoreVector(code, codes + v * kLanes);
    }
  } else {
    for (uint32_t v = 0; v < kVectors; ++v) {
      StoreVector(Code::template nearest<U>(group.x[v] * scale.inverse), codes + v * kLanes);
    }
  }
  return scale.scale;
}

template <typename Type, typename Code, bool kStochastic>
void Quantise(uint64_t seed, const fsk_quantise_item& item) {
  const auto* values = static_cast<const typename Type::Raw*>(item.values);
  Output codes_out(item.codes, item.elements);
  Group group;
  alignas(64) uint8_t codes[kGroup];
  for (uint64_t i = 0; i < item.elements; i += kGroup) {
    const uint64_t count = Least(kGroup, item.elements - i);
    Load<Type>(values + i, count, group);
    item.scales[i / kGroup] =
        QuantiseGroup<Code, kStochastic>(group, item.first_element + i, seed, codes);
    codes_out.put<kGroup>(codes, count);
  }
}

#if defined(__AVX512F__)
// The magnitudes of fp8 codes as bf16, which holds them all: looking up 32 codes at once is half
// the work of taking them apart.
struct Fp8Magnitudes {
  alignas(64) uint16_t bf16[128];
  constexpr Fp8Magnitudes() : bf16{} {
    for (uint32_t code = 8; code < 127; ++code) {
      bf16[code] = static_cast<uint16_t>((code << 4) + (120u << 7));
    }
    for (uint32_t code = 1, top = 0; code < 8; ++code) {  // code × 2^-9, its highest bit 2^top
      top += code >> (top + 1) & 1;
      bf16[code] = static_cast<uint16_t>(((118 + top) << 7) + ((code << (7 - top)) & 0x7f));
    }
    bf16[127] = 0x7fff;
  }
};
constexpr Fp8Magnitudes kFp8Magnitudes;

FARSPAN_INLINE void DecodeTwo(Fp8E4m3, const uint8_t* codes, F (&values)[2]) {
  const auto* table = reinterpret_cast<const __m512i*>(kFp8Magnitudes.bf16);
  const __m512i wide =
      _mm512_cvtepu8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(codes)));
  const __m512i small = _mm512_permutex2var_epi16(table[0], wide, table[1]);
  const __m512i large = _mm512_permutex2var_epi16(table[2], wide, table[3]);
  const __mmask32 is_large = _mm512_test_epi16_mask(wide, _mm512_set1_epi16(0x40));
  const __m512i sign = _mm512_slli_epi16(_mm512_and_si512(wide, _mm512_set1_epi16(0x80)), 8);
  alignas(64) uint16_t bf16[2 * kLanes];
  _mm512_store_si512(bf16, _mm512_or_si512(_mm512_mask_blend_epi16(is_large, small, large), sign));
  for (uint32_t i = 0; i < 2; ++i) values[i] = Bf16::load(LoadVector(bf16 + i * kLanes));
}
#endif

template <typename Code>
FARSPAN_INLINE void DecodeTwo(Code, const uint8_t* codes, F (&values)[2]) {
  for (uint32_t i = 0; i < 2; ++i) values[i] = Code::decode(LoadVector(codes + i * kLanes));
}

// group = or += codes × scale
template <typename Code, bool kAdd>
FARSPAN_INLINE void Decode(const uint8_t* from, float scale, uint64_t count, Group& group) {
  alignas(64) uint8_t padded[kGroup];
  const uint8_t* codes = Padded(from, count, padded);
  for (uint32_t v = 0; v < kVectors; v += 2) {
    F values[2];
    DecodeTwo(Code{}, codes + v * kLanes, values);
    for (uint32_t i = 0; i < 2; ++i) {
      const F product = values[i] * scale;
      group.x[v + i] = kAdd ? group.x[v + i] + product : product;
    }
  }
}

template <typename Type, typename Code>
void Dequantise(const fsk_dequantise_item& item) {
  Output values(item.values, item.elements * sizeof(typename Type::Raw));
  Group group;
  for (uint64_t i = 0; i < item.elements; i += kGroup) {
    const uint64_t count = Least(kGroup, item.elements - i);
    Decode<Code, false>(item.codes + i, item.scales[i / kGroup], count, group);
    Store<Type>(group, count, values);
  }
}

template <typename Type, typename Code, bool kStochastic>
void Accumulate(uint64_t seed, const fsk_accumulate_item& item) {
  using Raw = typename Type::Raw;
  Output values(item.values, item.elements * sizeof(Raw));
  Output codes_out(item.out_codes, item.elements);
  Group sum;
  alignas(64) uint8_t codes[kGroup];
  for (uint64_t i = 0; i < item.elements; i += kGroup) {
    const uint64_t count = Least(kGroup, item.elements - i);
    const uint64_t g = i / kGroup;
    if (item.base) {
      Load<Type>(static_cast<const Raw*>(item.base) + i, count, sum);
      Decode<Code, true>(item.codes[0] + i, item.scales[0][g], count, sum);
    } else {
      Decode<Code, false>(item.codes[0] + i, item.scales[0][g], count, sum);
    }
    for (uint32_t s = 1; s < item.sources; ++s) {
      Decode<Code, true>(item.codes[s] + i, item.scales[s][g], count, sum);
    }
    if (item.out_codes) {
      item.out_scales[g] =
          QuantiseGroup<Code, kStochastic>(sum, item.first_element + i, seed, codes);
      codes_out.put<kGroup>(codes, count);
    }
    if (item.values) Store<Type>(sum, count, values);
  }
}

template <typename Type, bool kMaximum>
void Reduce(const fsk_reduce_item& item) {
  using Raw = typename Type::Raw;
  Output out(item.out, item.elements * sizeof(Raw));
  Group total;
  Group next;
  for (uint64_t i = 0; i < item.elements; i += kGroup) {
    const uint64_t count = Least(kGroup, item.elements - i);
    Load<Type>(static_cast<const Raw*>(item.in[0]) + i, count, total);
    for (uint32_t s = 1; s < item.sources; ++s) {
      Load<Type>(static_cast<const Raw*>(item.in[s]) + i, count, next);
      for (uint32_t v = 0; v < kVectors; ++v) {
        total.x[v] = kMaximum ? Maximum<U>(total.x[v], next.x[v]) : total.x[v] + next.x[v];
      }
    }
    Store<Type>(total, count, out);
  }
}

void XorAll(const uint8_t* const* in, uint32_t sources, uint8_t* to, uint64_t bytes) {
  constexpr uint64_t kTile = 512;
  Output out(to, bytes);
  alignas(64) uint8_t sum[kTile];
  for (uint64_t i = 0; i < bytes; i += kTile) {
    const uint64_t count = Least(kTile, bytes - i);
    memcpy(sum, in[0] + i, count);
    for (uint32_t s = 1; s < sources; ++s) {
      const uint8_t* source = in[s] + i;
      for (uint64_t b = 0; b < count; ++b) sum[b] ^= source[b];
    }
    out.put<kTile>(sum, count);
  }
}

// The templates' arguments from the call's.
template <typename Type, typename Code>
void QuantiseAs(const fsk_quantiser& how, const fsk_quantise_item& item) {
  how.rounding == FSK_STOCHASTIC ? Quantise<Type, Code, true>(how.seed, item)
                                 : Quantise<Type, Code, false>(how.seed, item);
}

void QuantiseAny(fsk_type type, const fsk_quantiser& how, const fsk_quantise_item& item) {
  if (type == FSK_FP32) {
    how.code == FSK_INT8 ? QuantiseAs<Fp32, Int8>(how, item) : QuantiseAs<Fp32, Fp8E4m3>(how, item);
  } else {
    how.code == FSK_INT8 ? QuantiseAs<Bf16, Int8>(how, item) : QuantiseAs<Bf16, Fp8E4m3>(how, item);
  }
}

void DequantiseAny(fsk_type type, fsk_code code, const fsk_dequantise_item& item) {
  if (type == FSK_FP32) {
    code == FSK_INT8 ? Dequantise<Fp32, Int8>(item) : Dequantise<Fp32, Fp8E4m3>(item);
  } else {
    code == FSK_INT8 ? Dequantise<Bf16, Int8>(item) : Dequantise<Bf16, Fp8E4m3>(item);
  }
}

template <typename Type, typename Code>
void AccumulateAs(const fsk_quantiser& how, const fsk_accumulate_item& item) {
  how.rounding == FSK_STOCHASTIC ? Accumulate<Type, Code, true>(how.seed, item)
                                 : Accumulate<Type, Code, false>(how.seed, item);
}

void AccumulateAny(fsk_type type, const fsk_quantiser& how, const fsk_accumulate_item& item) {
  if (type == FSK_FP32) {
    how.code == FSK_INT8 ? AccumulateAs<Fp32, Int8>(how, item)
                         : AccumulateAs<Fp32, Fp8E4m3>(how, item);
  } else {
    how.code == FSK_INT8 ? AccumulateAs<Bf16, Int8>(how, item)
                         : AccumulateAs<Bf16, Fp8E4m3>(how, item);
  }
}

template <bool kMaximum>
void ReduceAs(fsk_type type, const fsk_reduce_item& item) {
  if (type == FSK_FP32) return Reduce<Fp32, kMaximum>(item);
  type == FSK_BF16 ? Reduce<Bf16, kMaximum>(item) : Reduce<Fp16, kMaximum>(item);
}

void ReduceAny(fsk_type type, fsk_reduction reduction, const fsk_reduce_item& item) {
  reduction == FSK_MAX ? ReduceAs<true>(type, item) : ReduceAs<false>(type, item);
}

}  // namespace

extern const VectorOps FARSPAN_ISA_OPS = {FARSPAN_ISA_NAME, QuantiseAny, DequantiseAny,
                                          AccumulateAny,    ReduceAny,   XorAll};

}  // namespace farspan::kernels
