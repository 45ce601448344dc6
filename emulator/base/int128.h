// 128-bit integers, for products that a division brings back into 64 bits.
//
// A GNU extension that gcc and clang have on every 64-bit target; named here once, so that
// -Wpedantic stays on everywhere else.
#pragma once

namespace farspan {

__extension__ using Int128 = __int128;
__extension__ using Uint128 = unsigned __int128;

}  // namespace farspan
