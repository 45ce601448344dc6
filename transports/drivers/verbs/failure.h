// What a completion that is no success means to a person.
//
// Source: InfiniBand Architecture Specification 1.4, 11.6.2; ibv_poll_cq(3). Pure.
#pragma once

#include <infiniband/verbs.h>

#include <string>

namespace farspan::verbs {

// `device`: "mlx5_0:1". Which queue pair, which status, what to check.
std::string Explain(const std::string& device, const ibv_wc& completion);

}  // namespace farspan::verbs
