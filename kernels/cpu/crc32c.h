// CRC32C of one packet on the CPU: ISA-L's where the library was built with it, else by tables.
#pragma once

#include <cstdint>

namespace farspan::kernels {

uint32_t Crc32c(const uint8_t* data, uint32_t bytes);
uint32_t Crc32cByTables(const uint8_t* data, uint32_t bytes);

}  // namespace farspan::kernels
