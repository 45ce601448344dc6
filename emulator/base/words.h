// Words: what the values of an enumeration are called where users write and read them, in one table
// for both. Views into literals.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "emulator/base/check.h"
#include "emulator/base/result.h"

namespace farspan {

template <typename T>
struct Word {
  std::string_view text;
  T value;
};

// `what` is for messages: "schedule".
template <typename T, size_t N>
Result<T> ParseWord(const Word<T> (&words)[N], std::string_view text, std::string_view what) {
  std::string message = "'" + std::string(text) + "' is no " + std::string(what) + "; there are";
  for (const Word<T>& word : words) {
    if (word.text == text) return word.value;
    message += (&word == words ? " " : ", ") + std::string(word.text);
  }
  return Fail(ErrorCode::kInvalid, message);
}

template <typename T, size_t N>
constexpr std::string_view WordOf(const Word<T> (&words)[N], T value) {
  for (const Word<T>& word : words) {
    if (word.value == value) return word.text;
  }
  FARSPAN_CHECK(false);
}

}  // namespace farspan
