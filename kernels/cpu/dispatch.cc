#include <initializer_list>

#include "kernels/cpu/vector_ops.h"

namespace farspan::kernels {

const VectorOps* VectorOpsFor(Isa isa) {
#ifdef __x86_64__
  if (isa == Isa::kAvx512) {
    const bool can = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                     __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    return can ? &kAvx512Ops : nullptr;
  }
  if (isa == Isa::kAvx2) return __builtin_cpu_supports("avx2") ? &kAvx2Ops : nullptr;
#endif
  return isa == Isa::kBaseline ? &kBaselineOps : nullptr;
}

const VectorOps& BestVectorOps() {
  static const VectorOps& best = [&]() -> const VectorOps& {
    for (const Isa isa : {Isa::kAvx512, Isa::kAvx2}) {
      if (const VectorOps* ops = VectorOpsFor(isa)) return *ops;
    }
    return kBaselineOps;
  }();
  return best;
}

}  // namespace farspan::kernels
