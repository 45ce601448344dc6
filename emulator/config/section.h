// Section: typed reading of TOML tables laid over each other, with one good error message.
//
// A section looks a key up in its layers, nearest first: --set overrides, a direction's own table,
// the link's table. Values are left as they are where a key is missing, so defaults live in the
// schema. Reading goes on after an error (the caller need not check): the Diagnostics keep the most
// telling one, an unknown key before anything that may follow from it. Every key that is asked for
// is known; finish() refuses the others in the layers that are the section's own.
//
// For readers of TOML only (emulator/config, the testbed's scenarios): the header that shows
// toml++. Threading: one thread. Ownership: the tables must outlive the section.
#pragma once

#include <toml++/toml.h>

#include <cstdint>
#include <initializer_list>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "emulator/base/result.h"
#include "emulator/base/time.h"
#include "emulator/base/units.h"
#include "emulator/base/words.h"

namespace farspan::config {

// "FILE:LINE:COLUMN"; the source alone where it is a command line's option, or says by a colon at
// its end that it is such a place; nothing where it is nowhere.
std::string Where(const toml::source_region& source);

// `name` is what errors show; toml++'s exceptions stay in here.
Result<toml::table> ParseToml(std::string_view text, std::string_view name);

class Diagnostics {
 public:
  void fail(const toml::source_region& where, std::string message,
            ErrorCode code = ErrorCode::kInvalid);
  void fail(Error error);  // of another file
  void fail_unknown_key(const toml::source_region& where, std::string message);
  bool failed() const { return error_.has_value(); }
  const Error& error() const { return *error_; }

 private:
  std::optional<Error> error_;
  bool unknown_key_ = false;
};

struct Layer {
  const toml::table* table = nullptr;
  bool own = true;  // finish() looks for unknown keys here
};

class Section {
 public:
  // `what` is for messages: "a link", "[engine]".
  Section(Diagnostics& diagnostics, std::string what, std::vector<Layer> layers);

  // The key's value in the nearest layer that has it, nullptr where none has.
  const toml::node* find(std::string_view key);
  bool has(std::string_view key) { return find(key) != nullptr; }
  // Which of some keys that exclude each other is given in the nearest layer that has one; empty if
  // none. Two in one layer are an error.
  std::string_view one_of(std::initializer_list<std::string_view> keys);
  // How many layers away the key is; a large number where it is nowhere.
  size_t distance(std::string_view key);

  // Each returns whether the key was there (and leaves `out` alone if not).
  bool read(std::string_view key, std::string& out);
  bool read(std::string_view key, bool& out);
  bool read(std::string_view key, TimeNs& out);
  bool read(std::string_view key, Rate& out);
  bool read(std::string_view key, Length& out);
  bool read_bytes(std::string_view key, uint64_t& out);
  bool read_probability(std::string_view key, double& out);
  bool read_number(std::string_view key, double& out, double min, double max);
  template <typename T>
  bool read_count(std::string_view key, T& out, uint64_t min = 0,
                  uint64_t max = std::numeric_limits<T>::max()) {
    const toml::node* node = find(key);
    if (const auto value = node ? count(*node, key, min, max) : std::nullopt) {
      out = static_cast<T>(*value);
    }
    return node != nullptr;
  }
  template <typename T>
  bool read_word(std::string_view key, T& out, std::span<const Word<T>> words) {
    const toml::node* node = find(key);
    if (!node) return false;
    std::vector<std::string_view> texts;
    for (const Word<T>& word : words) texts.push_back(word.text);
    if (const auto index = word_index(*node, key, texts)) out = words[*index].value;
    return true;
  }

  // What a value of a certain kind says, for values that may be of several kinds and for elements
  // of arrays; nullopt after reporting.
  std::optional<std::string> text(const toml::node& node, std::string_view key);
  std::optional<uint64_t> count(const toml::node& node, std::string_view key, uint64_t min,
                                uint64_t max);
  std::optional<size_t> word_index(const toml::node& node, std::string_view key,
                                   std::span<const std::string_view> words);
  template <typename T>
  std::optional<T> quantity(const toml::node& node, std::string_view key,
                            Result<T> (*parse)(std::string_view)) {
    const auto written = scalar(node, key);
    if (!written) return std::nullopt;
    Result<T> value = parse(*written);
    if (value) return *value;
    fail(node, key, value.error().message);
    return std::nullopt;
  }

  // The tables of that name in all layers, as one section (of own layers); an absent one is empty,
  // and its errors are told where this one is.
  Section child(std::string_view key, std::string what);
  // The tables of an array in the nearest layer that has it; empty if none.
  std::vector<const toml::table*> tables(std::string_view key);
  // The elements of an array in the nearest layer that has it.
  std::vector<const toml::node*> elements(std::string_view key);

  void fail(const toml::node& at, std::string_view key, std::string_view message);
  void fail(std::string_view key, std::string_view message);  // at the key, or the section
  void fail(std::string_view message);                        // at the section

  void know(std::span<const std::string_view> keys);
  void know(std::initializer_list<std::string_view> keys) { know(std::span(keys)); }
  void know(const Section& other);  // its keys belong here too
  void finish();

  const std::string& what() const { return what_; }
  const std::vector<Layer>& layers() const { return layers_; }
  Diagnostics& diagnostics() { return diagnostics_; }
  const toml::source_region& source() const;

 private:
  // A string or a number, as text: what a parser of quantities takes.
  std::optional<std::string> scalar(const toml::node& node, std::string_view key);
  void refuse_type(const toml::node& node, std::string_view key, std::string_view expected);

  Diagnostics& diagnostics_;
  std::string what_;
  std::vector<Layer> layers_;
  toml::source_region nowhere_;  // where a section without layers would be
  std::vector<std::string> known_;
};

}  // namespace farspan::config
