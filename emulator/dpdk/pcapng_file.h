// PcapngFile: one capture file, written block by block.
//
// Format: draft-ietf-opsawg-pcapng (PCAP Next Generation), one section in this machine's byte
// order: a section header, an interface description each (Ethernet without FCS, nanoseconds),
// enhanced packets, and interface statistics at the end. Single thread.
#pragma once

#include <cstdint>
#include <cstdio>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "emulator/base/result.h"

namespace farspan::dpdk {

struct CaptureInterface {
  std::string name;
  std::string description;  // may be empty
};

class PcapngFile {
 public:
  struct Packet {
    uint32_t interface = 0;
    uint64_t unix_ns = 0;
    uint32_t frame_bytes = 0;  // as it was, `bytes` may be less
    std::span<const uint8_t> bytes;
    bool outbound = false;
    uint64_t packet_id = 0;    // the same for all appearances of one packet
    uint64_t lost_before = 0;  // on this interface, since its packet before
    std::string_view comment;  // may be empty
  };
  struct Statistics {
    uint32_t interface = 0;
    uint64_t start_unix_ns = 0;
    uint64_t end_unix_ns = 0;
    uint64_t received = 0;
    uint64_t dropped = 0;  // by the capture
    uint64_t written = 0;
  };

  static Result<PcapngFile> Create(const std::string& path, uint32_t snap_bytes,
                                   std::string_view application,
                                   std::span<const CaptureInterface> interfaces);

  void write(const Packet& packet);
  void write(const Statistics& statistics);
  void flush();  // hands what is buffered to the system
  bool good() const { return std::ferror(file_.get()) == 0; }
  Result<void> close();

  uint64_t bytes() const { return bytes_; }

 private:
  struct Closer {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };

  template <typename T>
  void put(T value);
  void put_padded(const void* data, size_t size);  // to 32 bits
  void put_time(uint64_t unix_ns);
  template <typename T>
  void option(uint16_t code, T value);
  void option_text(uint16_t code, std::string_view text);
  void begin(uint32_t type);
  void end();

  std::string path_;
  std::unique_ptr<std::FILE, Closer> file_;
  std::string block_;
  uint64_t bytes_ = 0;
};

}  // namespace farspan::dpdk
