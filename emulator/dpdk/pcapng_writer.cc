#include "emulator/dpdk/pcapng_writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <chrono>
#include <cstring>
#include <thread>

#include "emulator/base/units.h"

namespace farspan::dpdk {

namespace {

constexpr size_t kRecordsPerTurn = 1024;  // of one producer, before the next one's
constexpr auto kIdle = std::chrono::milliseconds(1);

// What is in the ring before a frame's bytes.
struct Header {
  CaptureRecord record;
  uint64_t lost_before = 0;
};

void Add(std::atomic<uint64_t>& counter) {
  counter.store(counter.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
}

uint64_t UnixNs(TimeNs time, int64_t unix_ns_at_zero) {
  return static_cast<uint64_t>((time + TimeNs{unix_ns_at_zero}).ns);
}

}  // namespace

std::string CaptureComment(const CaptureRecord& record, int64_t unix_ns_at_zero) {
  std::string text;
  const auto add = [&text](std::string_view part) {
    if (!text.empty()) text += ", ";
    text += part;
  };
  if (record.flags & link::kDropped) {
    add(fmt::format("{}: {}", link::IsOwn(record.cause) ? "own drop" : "dropped",
                    link::ToText(record.cause)));
  } else if (record.outbound) {
    const uint64_t due = UnixNs(record.due, unix_ns_at_zero);
    add(fmt::format("delayed {}, due {}.{:09}, late {}", ToText(record.at - record.ingress),
                    due / 1'000'000'000, due % 1'000'000'000, ToText(record.at - record.due)));
  }
  if (record.flags & link::kMarked) add("marked CE");
  if (record.flags & link::kCorrupted) add("corrupted");
  if (record.flags & link::kDuplicate) add("duplicate");
  if (record.rule != 0) add(fmt::format("rule {}", record.rule - 1));
  return text;
}

CaptureProducer::CaptureProducer(size_t ring_bytes, uint32_t snap_bytes, size_t interfaces)
    : ring_(ring_bytes), snap_bytes_(snap_bytes), interfaces_(interfaces) {}

bool CaptureProducer::offer(const CaptureRecord& record, std::span<const uint8_t> frame) {
  Interface& interface = interfaces_[record.interface];
  Add(interface.offered);
  const uint64_t full = interface.full.load(std::memory_order_relaxed);
  const Header header{record, full - interface.full_reported};
  if (!ring_.push({reinterpret_cast<const uint8_t*>(&header), sizeof header},
                  frame.first(std::min<size_t>(frame.size(), snap_bytes_)))) {
    Add(interface.full);
    return false;
  }
  interface.full_reported = full;
  return true;
}

Result<std::unique_ptr<CaptureWriter>> CaptureWriter::Create(const CaptureOptions& options) {
  FARSPAN_CHECK(std::has_single_bit(options.ring_bytes) && options.producers > 0);
  Result<PcapngFile> file =
      PcapngFile::Create(options.path, options.snap_bytes, options.application, options.interfaces);
  if (!file) return tl::unexpected(file.error());
  return std::unique_ptr<CaptureWriter>(new CaptureWriter(options, *std::move(file)));
}

CaptureWriter::CaptureWriter(const CaptureOptions& options, PcapngFile file)
    : options_(options), file_(std::move(file)), interfaces_(options.interfaces.size()) {
  for (uint32_t i = 0; i < options.producers; ++i) {
    producers_.push_back(std::make_unique<CaptureProducer>(options.ring_bytes, options.snap_bytes,
                                                           options.interfaces.size()));
  }
}

Result<void> CaptureWriter::run(const std::stop_token& stop) {
  for (bool more = true; more;) {
    more = !stop.stop_requested();  // before the rings are looked at, so that all is written
    size_t drained = 0;
    for (const auto& producer : producers_) drained += drain(*producer);
    if (drained != 0) {
      more = true;
    } else if (more) {
      file_.flush();
      std::this_thread::sleep_for(kIdle);
    }
  }
  for (size_t i = 0; i < interfaces_.size(); ++i) {
    const CaptureCounts counts = this->counts(i);
    file_.write(PcapngFile::Statistics{static_cast<uint32_t>(i),
                                       std::min(first_unix_ns_, last_unix_ns_), last_unix_ns_,
                                       counts.offered, counts.lost, counts.written});
  }
  return file_.close();
}

CaptureCounts CaptureWriter::counts(size_t interface) const {
  CaptureCounts counts;
  counts.written = interfaces_[interface].written.load(std::memory_order_relaxed);
  counts.lost = interfaces_[interface].left_out.load(std::memory_order_relaxed);
  for (const auto& producer : producers_) {
    const auto& from = producer->interfaces_[interface];
    counts.offered += from.offered.load(std::memory_order_relaxed);
    counts.lost += from.full.load(std::memory_order_relaxed);
  }
  return counts;
}

size_t CaptureWriter::drain(CaptureProducer& producer) {
  size_t records = 0;
  while (records < kRecordsPerTurn && producer.ring_.pop(record_)) {
    write(record_);
    ++records;
  }
  return records;
}

void CaptureWriter::write(const std::vector<uint8_t>& record) {
  Header header;
  std::memcpy(&header, record.data(), sizeof header);
  const CaptureRecord& meta = header.record;
  Interface& interface = interfaces_[meta.interface];
  const std::string comment = CaptureComment(meta, options_.unix_ns_at_zero);
  PcapngFile::Packet packet;
  packet.interface = meta.interface;
  packet.unix_ns = UnixNs(meta.at, options_.unix_ns_at_zero);
  packet.frame_bytes = meta.frame_bytes;
  packet.bytes = std::span(record).subspan(sizeof header);
  packet.outbound = meta.outbound;
  packet.packet_id = meta.packet_id;
  packet.lost_before = header.lost_before;
  packet.comment = comment;
  first_unix_ns_ = std::min(first_unix_ns_, packet.unix_ns);
  last_unix_ns_ = std::max(last_unix_ns_, packet.unix_ns);
  const bool at_limit = options_.max_bytes != 0 && file_.bytes() >= options_.max_bytes;
  if (at_limit || !file_.good()) {
    Add(interface.left_out);
    return;
  }
  file_.write(packet);
  Add(interface.written);
}

}  // namespace farspan::dpdk
