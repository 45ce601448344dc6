// The nearest known words to one that is not known: for error messages.
//
// Edit distance (Levenshtein, with a swap of neighbours as one edit), ASCII letters in either case.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace farspan {

// At most `count` of `known`, nearest first; only those that a slip of the hand explains (about a
// third of the letters), or that begin with `word`. Views into `known`.
std::vector<std::string_view> NearestWords(std::string_view word,
                                           std::span<const std::string_view> known,
                                           size_t count = 3);

// `did you mean "delay" or "delta"?`, empty if nothing is near.
std::string DidYouMean(std::string_view word, std::span<const std::string_view> known,
                       size_t count = 3);

}  // namespace farspan
