#include <algorithm>
#include <cstring>

#include "emulator/base/check.h"
#include "transports/core/receiver.h"

namespace farspan::transport {

// A symbol is as long as a full datagram, but where a short datagram is a block of its own.
uint32_t Receiver::symbol_bytes(const Message& msg, uint32_t first, uint32_t data) const {
  return data == 1 ? datagram_bytes(msg, first) : setup_.payload_bytes;
}

uint32_t Receiver::find_block(const Message& msg, const Header& header) const {
  for (uint32_t b = msg.blocks; b != kNone; b = blocks_[b].next) {
    const Block& block = blocks_[b];
    if (block.first == header.index && block.data == header.block_data &&
        block.stride == header.stride) {
      return b;
    }
  }
  return kNone;
}

// A datagram has arrived: the open blocks that it belongs to miss one less.
void Receiver::fill_blocks(Message& msg, uint32_t index) {
  for (uint32_t b = msg.blocks; b != kNone;) {
    Block& block = blocks_[b];
    const uint32_t next = block.next;
    const uint32_t offset = index - block.first;
    if (index >= block.first && offset % block.stride == 0 && offset / block.stride < block.data) {
      --block.missing;
      if (block.symbols >= block.missing) {
        decode(msg, block);
        close_block(msg, b);
      }
    }
    b = next;
  }
}

void Receiver::decode(Message& msg, Block& block) {
  std::array<uint8_t*, ErasureCode::kColumns> data{};
  std::array<uint8_t, ErasureCode::kColumns> missing{};
  std::array<const uint8_t*, ErasureCode::kMaxParity> parity{};
  uint32_t lost = 0;
  const uint32_t bytes = symbol_bytes(msg, block.first, block.data);
  const bool real = msg.data != nullptr && !padded_.empty();
  uint32_t short_index = kNone;
  for (uint32_t j = 0; j < block.data; ++j) {
    const uint32_t index = block.first + j * block.stride;
    if (!has(msg, index)) missing[lost++] = static_cast<uint8_t>(j);
    if (!real) continue;
    data[j] = msg.data + uint64_t{index} * setup_.payload_bytes;
    const uint32_t length = datagram_bytes(msg, index);
    if (length == bytes) continue;
    std::memset(padded_.data(), 0, bytes);
    if (has(msg, index)) {
      std::memcpy(padded_.data(), data[j], length);
    } else {
      short_index = index;
    }
    data[j] = padded_.data();
  }
  FARSPAN_CHECK(lost == block.missing && lost <= block.symbols);
  if (real) {
    for (uint32_t i = 0; i < lost; ++i) parity[i] = symbol(block.store[i]);
    FARSPAN_CHECK(code_.decode(std::span(data).first(block.data), std::span(missing).first(lost),
                               std::span(parity).first(lost), std::span(block.rows).first(lost),
                               bytes));
    if (short_index != kNone) {
      std::memcpy(msg.data + uint64_t{short_index} * setup_.payload_bytes, padded_.data(),
                  datagram_bytes(msg, short_index));
    }
  }
  for (uint32_t i = 0; i < lost; ++i) {
    mark_received(msg, block.first + missing[i] * block.stride);
  }
  counters_.decoded += lost;
}

void Receiver::close_block(Message& msg, uint32_t place) {
  uint32_t* link = &msg.blocks;
  while (*link != place) link = &blocks_[*link].next;
  Block& block = blocks_[place];
  *link = block.next;
  for (uint32_t i = 0; i < block.symbols; ++i) free_symbols_.push_back(block.store[i]);
  block.next = free_block_;
  free_block_ = place;
}

void Receiver::close_blocks(Message& msg) {
  while (msg.blocks != kNone) close_block(msg, msg.blocks);
}

}  // namespace farspan::transport
