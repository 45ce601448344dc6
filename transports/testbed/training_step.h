// How long a step of data-parallel training takes when its all-reduces overlap its computation.
//
// Model: PyTorch's DistributedDataParallel (Li et al., VLDB 2020, arXiv 2006.15704). Gradients are
// summed in buckets of one size. The backward pass makes them ready one after the other, evenly; it
// is two thirds of the computation (4 of 6 operations per parameter and token: Kaplan et al., arXiv
// 2001.08361). Each bucket's all-reduce begins when the bucket is ready and the one before it has
// ended: those of one NCCL communicator do not run beside each other. The step ends with the
// computation's end or the last all-reduce's, whichever is later.
//
// How long one all-reduce takes is what a comparison measured for that size: its mean, alone on a
// warm connection. Not modelled: all-reduces beside each other (several communicators), the spread
// from bucket to bucket, what communication takes from the GPU, the sums inside a site that the
// collective leaves out, the optimizer's step, overlap with the next forward pass, stragglers.
#pragma once

#include <cstdint>

#include "emulator/base/time.h"

namespace farspan::testbed {

// By default INTELLECT-1's (arXiv 2412.01152): 10 billion parameters, whose gradients are 20 GB in
// bfloat16; 38 minutes of computation for the 100 steps between two exchanges. It exchanged that
// seldom to live with a WAN: here the gradients cross at every step.
struct TrainingStep {
  TimeNs compute{22'800'000'000};
  uint64_t gradient_bytes = 20'000'000'000;
};

// A last bucket that is not full takes as long as the others.
double StepSeconds(const TrainingStep& step, uint64_t bucket_bytes, double all_reduce_s);

}  // namespace farspan::testbed
