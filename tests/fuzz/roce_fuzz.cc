// Any bytes as a RoCEv2 packet: the view's invariants, and that nothing but headers decides.
//
// The first 4 bytes of the input choose how the rest is framed: as it is, or as the payload of a
// UDP datagram to port 4791 over either IP version, so that the transport headers are reached, and
// where the frame is cut.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <vector>

#include "emulator/base/check.h"
#include "emulator/roce/roce_view.h"

namespace {

using namespace farspan;
using namespace farspan::roce;
using Bytes = std::vector<uint8_t>;

void Append(Bytes& out, std::initializer_list<uint8_t> bytes) {
  for (const uint8_t byte : bytes) out.push_back(byte);
}

void Append16(Bytes& out, size_t value) {
  out.push_back(static_cast<uint8_t>(value >> 8));
  out.push_back(static_cast<uint8_t>(value));
}

// `error` falsifies UDP's length now and then.
Bytes Framed(const Bytes& payload, bool v6, bool tagged, int error) {
  Bytes out(12, 2);
  if (tagged) Append(out, {0x81, 0x00, 0x20, 0x07});
  const size_t udp_bytes = payload.size() + 8;
  if (v6) {
    Append(out, {0x86, 0xdd, 0x60, 0, 0, 0});
    Append16(out, udp_bytes);
    Append(out, {17, 64});
    out.resize(out.size() + 32, 0xfd);
  } else {
    Append(out, {0x08, 0x00, 0x45, 0});
    Append16(out, udp_bytes + 20);
    Append(out, {0, 0, 0x40, 0, 64, 17, 0, 0});
    out.resize(out.size() + 8, 10);
  }
  Append16(out, 0xc000);
  Append16(out, kRocePort);
  Append16(out, udp_bytes + static_cast<size_t>(error));
  Append16(out, 0);
  out.insert(out.end(), payload.begin(), payload.end());
  return out;
}

void CheckView(const Bytes& bytes, uint32_t frame_bytes) {
  const FrameView view = ParseFrame(bytes, frame_bytes, 0);
  const RoceView roce = ParseRoce(bytes, view);
  FARSPAN_CHECK(roce.fault < RoceFault::kCount);
  FARSPAN_CHECK(!ToText(roce.fault).empty() && !ToText(roce.opcode_class).empty());
  if (roce.fault != RoceFault::kNone) {
    FARSPAN_CHECK(roce.opcode_class == OpcodeClass::kNone && roce.bth_offset == 0);
    return;
  }
  FARSPAN_CHECK(roce.opcode_class > OpcodeClass::kNone && roce.opcode_class < OpcodeClass::kCount);
  FARSPAN_CHECK(IsRequest(roce.opcode_class) + IsResponse(roce.opcode_class) +
                    (roce.opcode_class == OpcodeClass::kCnp) ==
                1);
  FARSPAN_CHECK(roce.psn <= kPsnMask && roce.dest_qp <= kPsnMask && roce.msn <= kPsnMask);
  FARSPAN_CHECK(roce.bth_offset == view.payload_offset && roce.pad < 4);
  FARSPAN_CHECK(roce.payload_offset >= roce.bth_offset + kBthBytes);
  FARSPAN_CHECK(roce.payload_offset <= bytes.size());
  FARSPAN_CHECK(roce.icrc_offset() + kIcrcBytes == view.payload_offset + view.payload_bytes());
  FARSPAN_CHECK((roce.payload_bytes + roce.pad) % 4 == 0 && roce.payload_bytes <= 4096);
  if (bytes.size() < roce.icrc_offset() + kIcrcBytes) return;

  const uint32_t icrc = ComputeIcrc(bytes, view, roce);
  Bytes changed = bytes;
  changed[view.l3_offset + (view.ip_version == 4 ? 8u : 7u)] ^= 0xff;  // TTL, hop limit
  FARSPAN_CHECK(ComputeIcrc(changed, view, roce) == icrc);
  if (roce.payload_bytes == 0) return;
  changed[roce.payload_offset] ^= 0xff;
  FARSPAN_CHECK(ComputeIcrc(changed, view, roce) != icrc);  // CRC-32 sees every burst of 8 bits
  const RoceView again = ParseRoce(changed, ParseFrame(changed, frame_bytes, 0));
  FARSPAN_CHECK(again.fault == roce.fault && again.psn == roce.psn && again.opcode == roce.opcode);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 4) return 0;
  uint32_t choice = 0;
  std::memcpy(&choice, data, sizeof choice);
  const Bytes rest(data + 4, data + std::min<size_t>(size, 9000));
  const int error = (choice >> 8 & 15) == 15 ? 1 : 0;
  const Bytes frame =
      (choice & 3) == 3 ? rest : Framed(rest, (choice & 1) != 0, (choice & 4) != 0, error);
  const auto frame_bytes = static_cast<uint32_t>(frame.size());
  CheckView(frame, frame_bytes);
  CheckView(Bytes(frame.begin(), frame.begin() + (choice >> 16) % (frame_bytes + 1)), frame_bytes);
  return 0;
}
