// Frames for tests: say what matters, the rest has sensible defaults.
//
//   const auto frame = BuildFrame({.src_port = 4711, .dst_port = 4791, .payload_bytes = 64});
//
// Lengths and checksums come out right unless a test overrides bytes afterwards. Aborts on
// addresses that do not parse.
#pragma once

#include <arpa/inet.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "emulator/base/check.h"

namespace farspan::test {

using Bytes = std::vector<uint8_t>;

struct VlanTag {
  uint16_t vlan = 1;
  uint8_t pcp = 0;
  uint16_t tpid = 0x8100;
};

// An IPv6 extension header of `bytes` (a multiple of 8) or, for type 44, a fragment header.
struct Ipv6Extension {
  uint8_t type = 0;
  size_t bytes = 8;
};

struct Fragment {
  uint16_t offset = 0;  // in units of 8 bytes
  bool more = true;
};

struct FrameSpec {
  std::vector<VlanTag> tags{};
  int ip_version = 4;      // 0: `ethertype` and payload only
  uint16_t ethertype = 0;  // 0: by ip_version
  std::string src{};       // empty: 10.0.0.1 or fd00::1
  std::string dst{};       // empty: 10.0.0.2 or fd00::2
  uint8_t protocol = 17;   // 17 and 6 get their header, unless the frame is a later fragment
  uint16_t src_port = 49152;
  uint16_t dst_port = 4791;
  uint8_t dscp = 0;
  uint8_t ecn = 0;
  uint8_t ttl = 64;
  uint16_t identification = 0;
  size_t ipv4_option_bytes = 0;  // a multiple of 4, up to 40
  size_t tcp_option_bytes = 0;   // a multiple of 4, up to 40
  std::vector<Ipv6Extension> extensions{};
  std::optional<Fragment> fragment{};  // for IPv6 together with an extension of type 44
  size_t payload_bytes = 32;           // of the L4 header; content counts up from 0
  size_t pad_to = 0;                   // Ethernet padding; 60 is the minimum on a wire
};

// RFC 1071. `sum` carries a pseudo header's.
inline uint16_t InternetChecksum(const uint8_t* data, size_t size, uint64_t sum = 0) {
  for (size_t i = 0; i < size; ++i) sum += i % 2 == 0 ? data[i] << 8 : data[i];
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(~sum);
}

namespace internal {

inline void Append16(Bytes& out, uint64_t value) {
  out.push_back(static_cast<uint8_t>(value >> 8));
  out.push_back(static_cast<uint8_t>(value));
}

inline void Store16(Bytes& out, size_t offset, uint16_t value) {
  out[offset] = static_cast<uint8_t>(value >> 8);
  out[offset + 1] = static_cast<uint8_t>(value);
}

inline Bytes AddressBytes(int ip_version, const std::string& text) {
  Bytes address(ip_version == 4 ? 4 : 16);
  FARSPAN_CHECK(inet_pton(ip_version == 4 ? AF_INET : AF_INET6, text.c_str(), address.data()) == 1);
  return address;
}

inline size_t L4HeaderBytes(const FrameSpec& spec) {
  if (spec.fragment && spec.fragment->offset != 0) return 0;
  if (spec.protocol == 6) return 20 + spec.tcp_option_bytes;
  return spec.protocol == 17 ? 8 : 0;
}

inline Bytes BuildL4(const FrameSpec& spec, const Bytes& src, const Bytes& dst) {
  const size_t header = L4HeaderBytes(spec);
  Bytes l4(header + spec.payload_bytes, 1);  // TCP options: no-operation
  for (size_t i = 0; i < spec.payload_bytes; ++i) l4[header + i] = static_cast<uint8_t>(i);
  if (header == 0) return l4;
  const size_t checksum_at = spec.protocol == 17 ? 6 : 16;
  std::fill_n(l4.begin(), spec.protocol == 17 ? 8 : 20, uint8_t{0});
  Store16(l4, 0, spec.src_port);
  Store16(l4, 2, spec.dst_port);
  if (spec.protocol == 17) {
    Store16(l4, 4, static_cast<uint16_t>(l4.size()));
  } else {
    l4[12] = static_cast<uint8_t>(header / 4 << 4);
  }
  uint64_t pseudo = spec.protocol + l4.size();
  for (const Bytes* address : {&src, &dst}) {
    for (size_t i = 0; i < address->size(); i += 2) {
      pseudo += static_cast<uint64_t>((*address)[i] << 8 | (*address)[i + 1]);
    }
  }
  const uint16_t checksum = InternetChecksum(l4.data(), l4.size(), pseudo);
  Store16(l4, checksum_at, checksum == 0 && spec.protocol == 17 ? 0xffff : checksum);
  return l4;
}

inline void AppendIpv4(Bytes& out, const FrameSpec& spec, const Bytes& src, const Bytes& dst,
                       size_t l4_bytes) {
  const size_t begin = out.size();
  const size_t header = 20 + spec.ipv4_option_bytes;
  out.push_back(static_cast<uint8_t>(0x40 | header / 4));
  out.push_back(static_cast<uint8_t>(spec.dscp << 2 | spec.ecn));
  Append16(out, header + l4_bytes);
  Append16(out, spec.identification);
  Append16(out,
           spec.fragment ? spec.fragment->offset | (spec.fragment->more ? 0x2000 : 0) : 0x4000);
  out.push_back(spec.ttl);
  out.push_back(spec.protocol);
  Append16(out, 0);
  out.insert(out.end(), src.begin(), src.end());
  out.insert(out.end(), dst.begin(), dst.end());
  out.resize(begin + header, 1);  // options: no-operation
  Store16(out, begin + 10, InternetChecksum(out.data() + begin, header));
}

inline void AppendIpv6(Bytes& out, const FrameSpec& spec, const Bytes& src, const Bytes& dst,
                       size_t l4_bytes) {
  size_t extension_bytes = 0;
  for (const Ipv6Extension& extension : spec.extensions) extension_bytes += extension.bytes;
  Append16(out, static_cast<uint64_t>(6 << 12 | (spec.dscp << 2 | spec.ecn) << 4));
  Append16(out, 0);  // flow label
  Append16(out, extension_bytes + l4_bytes);
  out.push_back(spec.extensions.empty() ? spec.protocol : spec.extensions.front().type);
  out.push_back(spec.ttl);
  out.insert(out.end(), src.begin(), src.end());
  out.insert(out.end(), dst.begin(), dst.end());
  for (size_t i = 0; i < spec.extensions.size(); ++i) {
    const Ipv6Extension& extension = spec.extensions[i];
    const size_t begin = out.size();
    out.resize(begin + extension.bytes);
    out[begin] = i + 1 < spec.extensions.size() ? spec.extensions[i + 1].type : spec.protocol;
    if (extension.type == 44) {
      const Fragment fragment = spec.fragment.value_or(Fragment{.more = false});
      Store16(out, begin + 2, static_cast<uint16_t>(fragment.offset << 3 | fragment.more));
    } else {
      out[begin + 1] = static_cast<uint8_t>(extension.bytes / 8 - 1);
      out[begin + 2] = 1;  // PadN over the rest
      out[begin + 3] = static_cast<uint8_t>(extension.bytes - 4);
    }
  }
}

}  // namespace internal

// Without FCS. Addresses 02:…:01 to 02:…:02.
inline Bytes BuildFrame(const FrameSpec& spec) {
  Bytes frame{2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1};
  for (const VlanTag& tag : spec.tags) {
    internal::Append16(frame, tag.tpid);
    internal::Append16(frame, static_cast<uint64_t>(tag.pcp << 13 | tag.vlan));
  }
  const uint16_t by_version = spec.ip_version == 4 ? 0x0800 : 0x86dd;
  internal::Append16(frame, spec.ethertype != 0 ? spec.ethertype : by_version);
  if (spec.ip_version == 0) {
    for (size_t i = 0; i < spec.payload_bytes; ++i) frame.push_back(static_cast<uint8_t>(i));
  } else {
    const bool v4 = spec.ip_version == 4;
    const auto or_default = [](const std::string& text, const char* fallback) {
      return text.empty() ? std::string(fallback) : text;
    };
    const Bytes src =
        internal::AddressBytes(spec.ip_version, or_default(spec.src, v4 ? "10.0.0.1" : "fd00::1"));
    const Bytes dst =
        internal::AddressBytes(spec.ip_version, or_default(spec.dst, v4 ? "10.0.0.2" : "fd00::2"));
    const Bytes l4 = internal::BuildL4(spec, src, dst);
    (v4 ? internal::AppendIpv4 : internal::AppendIpv6)(frame, spec, src, dst, l4.size());
    frame.insert(frame.end(), l4.begin(), l4.end());
  }
  frame.resize(std::max(frame.size(), spec.pad_to));
  return frame;
}

}  // namespace farspan::test
