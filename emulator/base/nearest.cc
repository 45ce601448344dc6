#include "emulator/base/nearest.h"

#include <algorithm>
#include <utility>

namespace farspan {
namespace {

constexpr size_t kMaxLetters = 64;  // of a word that is worth a suggestion

char Lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

// Optimal string alignment distance, row by row.
size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<size_t> before(b.size() + 1);
  std::vector<size_t> last(b.size() + 1);
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) last[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const bool same = Lower(a[i - 1]) == Lower(b[j - 1]);
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (same ? 0 : 1)});
      if (i > 1 && j > 1 && Lower(a[i - 1]) == Lower(b[j - 2]) &&
          Lower(a[i - 2]) == Lower(b[j - 1])) {
        row[j] = std::min(row[j], before[j - 2] + 1);
      }
    }
    std::swap(before, last);
    std::swap(last, row);
  }
  return last[b.size()];
}

bool StartsWith(std::string_view text, std::string_view prefix) {
  return text.size() >= prefix.size() &&
         std::equal(prefix.begin(), prefix.end(), text.begin(),
                    [](char a, char b) { return Lower(a) == Lower(b); });
}

}  // namespace

std::vector<std::string_view> NearestWords(std::string_view word,
                                           std::span<const std::string_view> known, size_t count) {
  if (word.empty() || word.size() > kMaxLetters) return {};
  std::vector<std::pair<size_t, std::string_view>> near;
  for (const std::string_view candidate : known) {
    if (candidate.size() > kMaxLetters) continue;
    const size_t distance = StartsWith(candidate, word) ? 1 : EditDistance(word, candidate);
    if (distance <= std::max(word.size(), candidate.size()) / 3 || distance == 1) {
      near.emplace_back(distance, candidate);
    }
  }
  std::stable_sort(near.begin(), near.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  if (near.size() > count) near.resize(count);
  std::vector<std::string_view> words;
  words.reserve(near.size());
  for (const auto& [distance, candidate] : near) words.push_back(candidate);
  return words;
}

std::string DidYouMean(std::string_view word, std::span<const std::string_view> known,
                       size_t count) {
  const std::vector<std::string_view> words = NearestWords(word, known, count);
  if (words.empty()) return {};
  std::string text = "did you mean ";
  for (size_t i = 0; i < words.size(); ++i) {
    if (i != 0) text += i + 1 == words.size() ? " or " : ", ";
    text.append("\"").append(words[i]).append("\"");
  }
  return text + "?";
}

}  // namespace farspan
