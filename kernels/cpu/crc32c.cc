#include "kernels/cpu/crc32c.h"

#include <cstring>

#include "kernels/math/crc32c.h"

#ifdef FARSPAN_HAS_ISAL
#include <isa-l/crc.h>
#endif

namespace farspan::kernels {

uint32_t Crc32cByTables(const uint8_t* data, uint32_t bytes) {
  static const CrcTables kNextWord(CrcPower(32));
  uint32_t crc = 0xffffffff;
  for (; bytes >= 4; bytes -= 4, data += 4) {
    const uint32_t word = uint32_t{data[0]} | uint32_t{data[1]} << 8 | uint32_t{data[2]} << 16 |
                          uint32_t{data[3]} << 24;
    crc = CrcTimes(kNextWord, crc ^ word);
  }
  for (; bytes > 0; --bytes, ++data) {  // the top byte's x^32 is the low byte's x^8
    crc = crc >> 8 ^ kNextWord.of_byte[3][(crc ^ *data) & 0xff];
  }
  return ~crc;
}

uint32_t Crc32c(const uint8_t* data, uint32_t bytes) {
#ifdef FARSPAN_HAS_ISAL
  // The library's argument lacks const; it only reads.
  return ~crc32_iscsi(const_cast<unsigned char*>(data), static_cast<int>(bytes), 0xffffffff);
#else
  return Crc32cByTables(data, bytes);
#endif
}

}  // namespace farspan::kernels
