/* What a WAN hop asks of memory: quantise and sum gradients, make and use parity, check packets.
 *
 * A C ABI that stands alone. Every operation has a CPU implementation and, where the library was
 * built with CUDA, one for NVIDIA GPUs; both give the same bits for the same input.
 *
 * Batches. Every operation takes an array of items and does them all, on a GPU in one launch (or
 *   one per few hundred items). How work is cut into items, items into calls, and a tensor's
 *   groups over devices never changes a result.
 * Time. On the CPU a call returns when the work is done, in the calling thread; spread items over
 *   threads as you like. On CUDA a call enqueues on the stream of the current device and returns:
 *   items are read before it returns, buffers and workspace must live, and stay untouched, until
 *   the stream has passed. A GPU's own error surfaces on the stream, as CUDA errors do. Calls can
 *   be captured into CUDA graphs.
 * Threads. All functions may be called from several threads at once. Nothing allocates.
 * Memory. On CUDA every buffer is device-accessible; the item arrays are always host memory.
 *   Buffers are aligned to their element (bf16 and fp16 2 bytes, fp32 and CRCs 4, bytes 1), else
 *   FSK_BAD_ALIGNMENT; 16 bytes on CUDA and 64 on the CPU are faster.
 * Aliasing. What an item writes must not overlap anything else that the item reads or writes, but
 *   for the exact aliases that an operation allows; checked, FSK_ALIASING. Across the items of one
 *   call the same holds and is the caller's promise.
 * Floating point. IEEE: round to nearest even, denormals kept; callers must not set FTZ, DAZ or
 *   another rounding mode. Sums are taken in fp32 in the order of the sources. Every NaN written
 *   is the canonical one (fp32 0x7fffffff, bf16 and fp16 0x7fff). Any length is allowed, 0 too. */
#ifndef FARSPAN_KERNELS_KERNELS_H_
#define FARSPAN_KERNELS_KERNELS_H_

#include <stddef.h>
#include <stdint.h>

/* An enumeration is 32 bits wide, and any value may arrive and is checked. */
#ifdef __cplusplus
#define FSK_32_BITS : uint32_t
extern "C" {
#else
#define FSK_32_BITS
#endif

#define FSK_ABI_VERSION 1u
#define FSK_GROUP 128u             /* elements that share a scale; a tensor's last may be short */
#define FSK_SOURCES_MAX 16u        /* buffers summed in one pass */
#define FSK_DATA_SYMBOLS_MAX 128u  /* k */
#define FSK_PARITY_SYMBOLS_MAX 32u /* m */
#define FSK_ELEMENTS_MAX (1ull << 40)
#define FSK_WORKSPACE_ALIGNMENT 256u

typedef enum fsk_status FSK_32_BITS {
  FSK_OK = 0,
  FSK_BAD_ARGUMENT = 1,
  FSK_BAD_ALIGNMENT = 2,
  FSK_ALIASING = 3,
  FSK_BAD_WORKSPACE = 4, /* missing, too small or misaligned */
  FSK_UNRECOVERABLE = 5, /* more symbols lost than parity can give back */
  FSK_NO_DEVICE = 6,     /* built without CUDA, or no usable GPU */
  FSK_DEVICE_ERROR = 7,  /* CUDA refused a launch */
  FSK_BAD_VERSION = 8    /* fsk_exec.abi_version is not the library's */
} fsk_status;

uint32_t fsk_abi_version(void);
const char* fsk_strerror(fsk_status status);
/* What exactly the calling thread's last failed call objected to; "" before any. */
const char* fsk_last_error(void);

typedef enum fsk_device FSK_32_BITS { FSK_CPU = 0, FSK_CUDA = 1 } fsk_device;
/* 1 if calls on `device` can work in this process, else 0. */
int fsk_has_device(fsk_device device);
/* What serves `device`, for reports: "avx512, isa-l", "NVIDIA H100 …, 132 SMs", or "none". */
const char* fsk_device_name(fsk_device device);

/* Where and how a call runs. */
typedef struct fsk_exec {
  uint32_t abi_version; /* FSK_ABI_VERSION */
  fsk_device device;
  void* stream;     /* CUDA: a cudaStream_t, NULL is the legacy default; CPU: not read */
  uint32_t max_sms; /* CUDA: use no more multiprocessors than this; 0: all. CPU: not read */
  void* workspace;  /* only parity needs one; device memory on CUDA */
  size_t workspace_bytes;
} fsk_exec;

typedef enum fsk_type FSK_32_BITS { FSK_FP32 = 0, FSK_BF16 = 1, FSK_FP16 = 2 } fsk_type;

/* Quantisation.
 *
 * A group of 128 consecutive elements has one fp32 scale; a value is code × scale. With a the
 * group's largest magnitude, but at least top × 2^-126 (so that scales are normal numbers), and top
 * the largest code, scale = a / top and a code is y = x × (top / a), each rounded to nearest,
 * brought to FSK_FP8_E4M3, OCP FP8 E4M3 (no infinities, NaN 0x7f, top 448), which saturates and
 * keeps -0, or to FSK_INT8, two's complement, top 127, of which -128 is never written.
 *
 * FSK_NEAREST rounds y to nearest even. FSK_STOCHASTIC finds where y lies between the two codes
 * around it in 2^-b of a step, f = 0 … 2^b, to nearest even, and takes the upper one (in magnitude
 * for fp8) where f + r ≥ 2^b, r being b random bits: with the probability f × 2^-b. So a value that
 * has a code of its own keeps it, and the mean over r is within 2^-(b + 1) of a step of y. b is 8
 * for FSK_INT8 and 7 for FSK_FP8_E4M3, whose steps are at most 2^-3 of a normal y: the mean is
 * within 2^-11 of it there, closer than bf16 is to what it rounds.
 *
 * A NaN or an infinity poisons its group: the scale is NaN, the codes are 0, and the whole group
 * decodes to NaN, so that an overflow is never hidden. Zeros give zeros. Denormals are values like
 * others, but below the floor of a (2^-117.2 for fp8) they use fewer codes.
 *
 * Error for finite values: |x - code × scale| ≤ h + |x| × 2^-21, where h for FSK_INT8 is a / 254,
 * and for FSK_FP8_E4M3 max(|x| / 16, a / 448 × 2^-10). Stochastic rounding doubles h, which is
 * then a step or more; the mean of its error over r is at most h × 2^-(b + 1) + |x| × 2^-21.
 *
 * r is the upper b bits of a byte of Philox4x32-8. Of group g = element / 128, where element is the
 * index in the tensor, and e = element % 128, key = seed (low word first), counter = (8 g + e / 8 %
 * 8 as 64 bits, low word first, 0, 0), and the byte is e % 8, low first, of the words 1, 0 of the
 * result (in this order) where e < 64, else of the words 3, 2. Take another seed for every tensor
 * and step. */
typedef enum fsk_code FSK_32_BITS { FSK_FP8_E4M3 = 0, FSK_INT8 = 1 } fsk_code;
typedef enum fsk_rounding FSK_32_BITS { FSK_NEAREST = 0, FSK_STOCHASTIC = 1 } fsk_rounding;

typedef struct fsk_quantiser {
  fsk_code code;
  fsk_rounding rounding;
  uint64_t seed; /* read for FSK_STOCHASTIC */
} fsk_quantiser;

typedef struct fsk_quantise_item {
  const void* values; /* of the call's type: fp32 or bf16 */
  uint8_t* codes;     /* one per element */
  float* scales;      /* one per group */
  uint64_t elements;
  uint64_t first_element; /* the index of values[0] in its tensor: a multiple of FSK_GROUP */
} fsk_quantise_item;
fsk_status fsk_quantise(const fsk_exec* exec, fsk_type type, const fsk_quantiser* quantiser,
                        const fsk_quantise_item* items, size_t count);

typedef struct fsk_dequantise_item {
  const uint8_t* codes;
  const float* scales;
  void* values; /* fp32 or bf16 */
  uint64_t elements;
} fsk_dequantise_item;
fsk_status fsk_dequantise(const fsk_exec* exec, fsk_type type, fsk_code code,
                          const fsk_dequantise_item* items, size_t count);

/* The inner step of a compressed reduction: base + codes[0] × scales[0] + codes[1] × scales[1] + …,
 * products and sums each rounded to fp32, in this order. The sum is rounded once to `type`
 * (values), or quantised as it is (out_codes, out_scales), or both. `values` may be `base`;
 * out_codes and out_scales may together be codes[i] and scales[i]. */
typedef struct fsk_accumulate_item {
  const void* base; /* of `type`, or NULL */
  const uint8_t* codes[FSK_SOURCES_MAX];
  const float* scales[FSK_SOURCES_MAX];
  void* values;       /* of `type`, or NULL */
  uint8_t* out_codes; /* or NULL, and out_scales with it */
  float* out_scales;
  uint64_t elements;
  uint64_t first_element;
  uint32_t sources; /* 1 … FSK_SOURCES_MAX */
} fsk_accumulate_item;
/* `type`: fp32 or bf16. The sources' code is quantiser->code, the output's too. */
fsk_status fsk_accumulate(const fsk_exec* exec, fsk_type type, const fsk_quantiser* quantiser,
                          const fsk_accumulate_item* items, size_t count);

/* out = in[0] op in[1] op …, the sum in fp32 and rounded once to `type`, fp16 overflowing to
 * infinity as IEEE says. Maximum: -0 < +0, and any NaN gives NaN. `out` may be any in[i]. */
typedef enum fsk_reduction FSK_32_BITS { FSK_SUM = 0, FSK_MAX = 1 } fsk_reduction;
typedef struct fsk_reduce_item {
  const void* in[FSK_SOURCES_MAX];
  void* out;
  uint64_t elements;
  uint32_t sources; /* 1 … FSK_SOURCES_MAX */
} fsk_reduce_item;
fsk_status fsk_reduce(const fsk_exec* exec, fsk_type type, fsk_reduction reduction,
                      const fsk_reduce_item* items, size_t count);

/* Erasure codes over stripes of k data and m parity symbols.
 *
 *   FSK_RS   Reed-Solomon over GF(2^8) with polynomial 0x11d: parity row r is
 *            sum over i of data[i] / ((k + r) xor i), the Cauchy matrix of ISA-L's
 *            gf_gen_cauchy1_matrix. Any k of the k + m symbols give the data. A row does not depend
 *            on m: more parity of the same stripe is made by asking for later rows (`first`).
 *   FSK_XOR  parity row r is the xor of the data symbols i with i % m == r. One loss per such set.
 *
 * Symbols lie at data + i × data_stride and parity + r × parity_stride; strides are at least
 * symbol_bytes, and larger where stripes are interleaved. A message's end: symbols from
 * data_symbols on count as zeros, and so does the last one's tail from last_bytes on; neither is
 * read or written. */
typedef enum fsk_parity_kind FSK_32_BITS { FSK_RS = 0, FSK_XOR = 1 } fsk_parity_kind;
typedef struct fsk_parity_code {
  fsk_parity_kind kind;
  uint32_t k;     /* 1 … FSK_DATA_SYMBOLS_MAX */
  uint32_t first; /* RS: the row of parity symbol 0, first + m ≤ FSK_PARITY_SYMBOLS_MAX; XOR: 0 */
  uint32_t m;     /* 1 … FSK_PARITY_SYMBOLS_MAX; XOR: at most k */
} fsk_parity_code;

#define FSK_LOST_WORDS 5u
typedef struct fsk_stripe {
  uint8_t* data;
  uint8_t* parity;
  uint64_t data_stride;
  uint64_t parity_stride;
  uint64_t symbol_bytes;         /* at most 2^30 */
  uint64_t last_bytes;           /* of data symbol data_symbols - 1: 1 … symbol_bytes */
  uint32_t data_symbols;         /* 1 … k */
  uint32_t lost[FSK_LOST_WORDS]; /* decode: bit i for data symbol i, bit k + r for parity r */
} fsk_stripe;

/* Row-major m × k coefficients of the code's rows, for FSK_XOR too. */
fsk_status fsk_parity_matrix(const fsk_parity_code* code, uint8_t* matrix);
/* Bytes of workspace with which `count` stripes are done at once. Any call works with that of one
 * stripe, in turns; encoding and the CPU never gain from more. */
size_t fsk_parity_workspace(fsk_device device, const fsk_parity_code* code, size_t count);
/* Writes the m parity symbols of each stripe; `lost` is not read. */
fsk_status fsk_parity_encode(const fsk_exec* exec, const fsk_parity_code* code,
                             const fsk_stripe* stripes, size_t count);
/* Writes the lost data symbols; lost parity stays lost. If any stripe cannot be recovered, nothing
 * is written and the answer is FSK_UNRECOVERABLE. */
fsk_status fsk_parity_decode(const fsk_exec* exec, const fsk_parity_code* code,
                             const fsk_stripe* stripes, size_t count);

/* CRC32C (Castagnoli, as iSCSI and RFC 3720: of "123456789" it is 0xe3069283) of packets that lie
 * `stride` apart: crcs[i] of packet i. All have packet_bytes, but the last one last_bytes. */
typedef struct fsk_packets {
  const uint8_t* data;
  uint64_t stride; /* at least packet_bytes where there is more than one packet */
  uint32_t packet_bytes;
  uint32_t last_bytes; /* at most packet_bytes; 0 is an empty packet */
  uint64_t packets;
  uint32_t* crcs;
} fsk_packets;
fsk_status fsk_crc32c(const fsk_exec* exec, const fsk_packets* items, size_t count);

#ifdef __cplusplus
}
#endif

#endif /* FARSPAN_KERNELS_KERNELS_H_ */
