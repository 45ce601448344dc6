// A reader of pcapng files, from the draft alone (draft-ietf-opsawg-pcapng); what does not fit it
// fails the test.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <vector>

#include "tests/support/frame_builder.h"

namespace farspan::test {

struct Block {
  uint32_t type = 0;
  Bytes body;  // without options
  std::map<uint16_t, Bytes> options;
};

template <typename T>
T Read(const Bytes& bytes, size_t offset) {
  T value{};
  if (offset + sizeof value > bytes.size()) {
    ADD_FAILURE() << "read behind the end";
    return value;
  }
  std::memcpy(&value, bytes.data() + offset, sizeof value);
  return value;
}

inline uint64_t ReadTime(const Bytes& bytes, size_t offset) {
  return uint64_t{Read<uint32_t>(bytes, offset)} << 32 | Read<uint32_t>(bytes, offset + 4);
}

inline Block ParseBlock(const Bytes& file, size_t at, uint32_t length) {
  Block block;
  block.type = Read<uint32_t>(file, at);
  size_t fixed = 0;
  switch (block.type) {
    case 0x0a0d0d0a:
      fixed = 16;
      break;
    case 1:
      fixed = 8;
      break;
    case 5:
      fixed = 12;
      break;
    case 6:
      fixed = 20 + (Read<uint32_t>(file, at + 20) + 3) / 4 * 4;
      break;
    default:
      ADD_FAILURE() << "block type " << block.type;
  }
  const auto begin = file.begin() + static_cast<ptrdiff_t>(at + 8);
  block.body.assign(begin, begin + static_cast<ptrdiff_t>(fixed));
  for (size_t option = at + 8 + fixed; option + 4 <= at + length - 4;) {
    const auto code = Read<uint16_t>(file, option);
    const auto size = Read<uint16_t>(file, option + 2);
    if (code == 0) {
      EXPECT_EQ(size, 0);
      EXPECT_EQ(option + 4, at + length - 4) << "options end before the block does";
      return block;
    }
    const auto value = file.begin() + static_cast<ptrdiff_t>(option + 4);
    EXPECT_TRUE(block.options.try_emplace(code, value, value + size).second);
    option += 4 + (size + 3u) / 4 * 4;
  }
  ADD_FAILURE() << "no end of options";
  return block;
}

inline std::vector<Block> ReadFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  const Bytes file{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  std::vector<Block> blocks;
  for (size_t at = 0; at < file.size();) {
    const auto length = Read<uint32_t>(file, at + 4);
    EXPECT_EQ(length % 4, 0u);
    if (length < 12 || at + length > file.size()) {
      ADD_FAILURE() << "block of " << length << " at " << at << " of " << file.size();
      break;
    }
    EXPECT_EQ(Read<uint32_t>(file, at + length - 4), length);
    blocks.push_back(ParseBlock(file, at, length));
    at += length;
  }
  return blocks;
}

inline std::string Text(const Block& block, uint16_t option) {
  const auto found = block.options.find(option);
  return found == block.options.end() ? ""
                                      : std::string(found->second.begin(), found->second.end());
}

template <typename T>
T Value(const Block& block, uint16_t option) {
  const auto found = block.options.find(option);
  return found == block.options.end() ? T{} : Read<T>(found->second, 0);
}

inline std::vector<Block> OfType(const std::vector<Block>& blocks, uint32_t type) {
  std::vector<Block> found;
  std::copy_if(blocks.begin(), blocks.end(), std::back_inserter(found),
               [type](const Block& block) { return block.type == type; });
  return found;
}

}  // namespace farspan::test
