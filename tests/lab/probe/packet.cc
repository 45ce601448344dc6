#include "tests/lab/probe/packet.h"

#include <time.h>

#include <array>
#include <cstring>

namespace farspan::probe {
namespace {

constexpr uint64_t kMagic = 0x324265626f727046;  // "Fprobe" and a version
constexpr size_t kWord = sizeof(uint64_t);
constexpr size_t kHeaderWords = 5;

using Header = std::array<uint64_t, kHeaderWords>;

// SplitMix64's finaliser: any change of the header changes about half of the fill's bits.
uint64_t Mix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

uint64_t Fill(const Header& header) {
  uint64_t fill = 0;
  for (uint64_t word : header) fill = Mix(fill + word + 0x9e3779b97f4a7c15);
  return fill;
}

}  // namespace

void Write(const Packet& packet, std::span<std::byte> out) {
  const Header header{kMagic, packet.sequence, static_cast<uint64_t>(packet.sent_ns),
                      static_cast<uint64_t>(packet.received_ns),
                      static_cast<uint64_t>(packet.reflected_ns)};
  std::memcpy(out.data(), header.data(), sizeof(header));
  const uint64_t fill = Fill(header);
  size_t at = sizeof(header);
  for (; at + kWord <= out.size(); at += kWord) std::memcpy(&out[at], &fill, kWord);
  if (at < out.size()) std::memcpy(&out[at], &fill, out.size() - at);
}

std::optional<Packet> Read(std::span<const std::byte> in) {
  if (in.size() < kPacketBytesMin) return std::nullopt;
  Header header;
  std::memcpy(header.data(), in.data(), sizeof(header));
  const uint64_t fill = Fill(header);
  uint64_t difference = header[0] ^ kMagic;
  size_t at = sizeof(header);
  for (; at + kWord <= in.size(); at += kWord) {
    uint64_t word = 0;
    std::memcpy(&word, &in[at], kWord);
    difference |= word ^ fill;
  }
  if (difference != 0) return std::nullopt;
  if (at < in.size() && std::memcmp(&in[at], &fill, in.size() - at) != 0) return std::nullopt;
  return Packet{header[1], static_cast<int64_t>(header[2]), static_cast<int64_t>(header[3]),
                static_cast<int64_t>(header[4])};
}

int64_t NowNs() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC_RAW, &now);
  return now.tv_sec * 1'000'000'000 + now.tv_nsec;
}

}  // namespace farspan::probe
