#include "emulator/dpdk/pcapng_file.h"

#include <cerrno>
#include <cstring>

namespace farspan::dpdk {

namespace {

constexpr uint32_t kSectionHeader = 0x0a0d0d0a;
constexpr uint32_t kInterfaceDescription = 1;
constexpr uint32_t kInterfaceStatistics = 5;
constexpr uint32_t kEnhancedPacket = 6;

constexpr uint16_t kEndOfOptions = 0;
constexpr uint16_t kComment = 1;
constexpr uint16_t kUserApplication = 4;
constexpr uint16_t kIfName = 2;
constexpr uint16_t kIfDescription = 3;
constexpr uint16_t kIfTimeResolution = 9;
constexpr uint16_t kIfFcsLength = 13;
constexpr uint16_t kPacketFlags = 2;
constexpr uint16_t kPacketDropCount = 4;
constexpr uint16_t kPacketId = 5;
constexpr uint16_t kStatisticsStart = 2;
constexpr uint16_t kStatisticsEnd = 3;
constexpr uint16_t kStatisticsReceived = 4;
constexpr uint16_t kStatisticsDropped = 5;
constexpr uint16_t kStatisticsDelivered = 8;

constexpr uint32_t kByteOrderMagic = 0x1a2b3c4d;
constexpr uint16_t kLinkTypeEthernet = 1;
constexpr uint8_t kNanoseconds = 9;
constexpr uint32_t kInbound = 1;
constexpr uint32_t kOutbound = 2;

}  // namespace

Result<PcapngFile> PcapngFile::Create(const std::string& path, uint32_t snap_bytes,
                                      std::string_view application,
                                      std::span<const CaptureInterface> interfaces) {
  PcapngFile file;
  file.path_ = path;
  file.file_.reset(std::fopen(path.c_str(), "wb"));
  if (!file.file_) {
    return Fail(ErrorCode::kIo, std::string("cannot create it: ") + std::strerror(errno),
                "capture file " + path);
  }
  file.begin(kSectionHeader);
  file.put(kByteOrderMagic);
  file.put(uint16_t{1});  // version 1.0
  file.put(uint16_t{0});
  file.put(~uint64_t{0});  // section length: not said
  file.option_text(kUserApplication, application);
  file.put(uint32_t{kEndOfOptions});
  file.end();
  for (const CaptureInterface& interface : interfaces) {
    file.begin(kInterfaceDescription);
    file.put(kLinkTypeEthernet);
    file.put(uint16_t{0});
    file.put(snap_bytes);
    file.option_text(kIfName, interface.name);
    if (!interface.description.empty()) file.option_text(kIfDescription, interface.description);
    file.option(kIfTimeResolution, kNanoseconds);
    file.option(kIfFcsLength, uint8_t{0});
    file.put(uint32_t{kEndOfOptions});
    file.end();
  }
  return file;
}

void PcapngFile::write(const Packet& packet) {
  begin(kEnhancedPacket);
  put(packet.interface);
  put_time(packet.unix_ns);
  put(static_cast<uint32_t>(packet.bytes.size()));
  put(packet.frame_bytes);
  put_padded(packet.bytes.data(), packet.bytes.size());
  option(kPacketFlags, packet.outbound ? kOutbound : kInbound);
  if (packet.lost_before != 0) option(kPacketDropCount, packet.lost_before);
  option(kPacketId, packet.packet_id);
  if (!packet.comment.empty()) option_text(kComment, packet.comment);
  put(uint32_t{kEndOfOptions});
  end();
}

void PcapngFile::write(const Statistics& statistics) {
  begin(kInterfaceStatistics);
  put(statistics.interface);
  put_time(statistics.end_unix_ns);
  for (const auto& [code, unix_ns] : {std::pair{kStatisticsStart, statistics.start_unix_ns},
                                      std::pair{kStatisticsEnd, statistics.end_unix_ns}}) {
    put(code);
    put(uint16_t{8});
    put_time(unix_ns);
  }
  option(kStatisticsReceived, statistics.received);
  option(kStatisticsDropped, statistics.dropped);
  option(kStatisticsDelivered, statistics.written);
  put(uint32_t{kEndOfOptions});
  end();
}

void PcapngFile::flush() { std::fflush(file_.get()); }

Result<void> PcapngFile::close() {
  flush();
  const bool written = good();
  if (std::fclose(file_.release()) == 0 && written) return {};
  return Fail(ErrorCode::kIo, "it could not be written completely: is the file system full?",
              "capture file " + path_);
}

template <typename T>
void PcapngFile::put(T value) {
  block_.append(reinterpret_cast<const char*>(&value), sizeof value);
}

void PcapngFile::put_padded(const void* data, size_t size) {
  block_.append(static_cast<const char*>(data), size);
  block_.append(-size % 4, '\0');
}

void PcapngFile::put_time(uint64_t unix_ns) {
  put(static_cast<uint32_t>(unix_ns >> 32));
  put(static_cast<uint32_t>(unix_ns));
}

template <typename T>
void PcapngFile::option(uint16_t code, T value) {
  put(code);
  put(static_cast<uint16_t>(sizeof value));
  put_padded(&value, sizeof value);
}

void PcapngFile::option_text(uint16_t code, std::string_view text) {
  text = text.substr(0, UINT16_MAX);
  put(code);
  put(static_cast<uint16_t>(text.size()));
  put_padded(text.data(), text.size());
}

void PcapngFile::begin(uint32_t type) {
  block_.clear();
  put(type);
  put(uint32_t{0});  // the length, see end()
}

void PcapngFile::end() {
  const auto length = static_cast<uint32_t>(block_.size() + sizeof(uint32_t));
  put(length);
  std::memcpy(block_.data() + sizeof(uint32_t), &length, sizeof length);
  std::fwrite(block_.data(), 1, block_.size(), file_.get());
  bytes_ += block_.size();
}

}  // namespace farspan::dpdk
