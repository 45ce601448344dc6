#include <array>

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
      if (decode(msg, block)) close_block(msg, b);
    }
    b = next;
  }
}

// Whether all of it is there now. A peer that lies may have blocks overlap, and one fill another:
// what is missing is counted again.
bool Receiver::decode(Message& msg, Block& block) {
  if (block.symbols < block.missing) return false;
  std::array<uint8_t, ErasureCode::kColumns> missing{};
  std::array<const uint8_t*, ErasureCode::kMaxParity> parity{};
  uint32_t lost = 0;
  for (uint32_t j = 0; j < block.data; ++j) {
    if (!has(msg, block.first + j * block.stride)) missing[lost++] = static_cast<uint8_t>(j);
  }
  FARSPAN_CHECK(lost <= block.missing);
  if (lost != 0 && msg.data != nullptr && !parity_.empty()) {
    for (uint32_t i = 0; i < lost; ++i) parity[i] = symbol(block.store[i]);
    const ErasureCode::Layout layout{
        .count = block.data,
        .stride = uint64_t{block.stride} * setup_.payload_bytes,
        .bytes = symbol_bytes(msg, block.first, block.data),
        .last_bytes = datagram_bytes(msg, block.first + (block.data - 1u) * block.stride)};
    code_.decode(layout, msg.data + uint64_t{block.first} * setup_.payload_bytes,
                 std::span(missing).first(lost), std::span(parity).first(lost),
                 std::span(block.rows).first(lost));
  }
  for (uint32_t i = 0; i < lost; ++i) {
    mark_received(msg, block.first + missing[i] * block.stride);
  }
  counters_.decoded += lost;
  return true;
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
