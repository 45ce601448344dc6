#include "transports/drivers/qlog/qlog_endpoint.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <numeric>
#include <utility>

namespace farspan::transport {
namespace {

constexpr std::string_view kPreamble =
    "\x1e{{\"file_schema\":\"urn:ietf:params:qlog:file:sequential\","
    "\"serialization_format\":\"application/qlog+json-seq\",\"title\":\"Span {} {}\","
    "\"trace\":{{\"common_fields\":{{\"time_format\":\"relative_to_epoch\","
    "\"reference_time\":{{\"clock_type\":\"monotonic\",\"epoch\":\"unknown\"}}}},"
    "\"vantage_point\":{{\"type\":\"unknown\"}},"
    "\"event_schemas\":[\"urn:ietf:params:qlog:events:quic-13\"]}}}}\n";

double Milliseconds(TimeNs time) { return static_cast<double>(time.ns) * 1e-6; }

std::string_view PacketTypeText(PacketType type) {
  switch (type) {
    case PacketType::kHello:
      return "initial";
    case PacketType::kRetry:
      return "retry";
    case PacketType::kAccept:
    case PacketType::kRefuse:
      return "handshake";
    default:
      return "1RTT";
  }
}

// What is received between low and high, of which the gaps are not.
std::string AckRanges(const Header& header) {
  std::string text;
  uint32_t from = header.low;
  const auto add = [&](uint32_t end) {
    if (end != from) text += fmt::format("{}[{},{}]", text.empty() ? "" : ",", from, end - 1);
  };
  for (uint32_t i = 0; i < header.gap_count; ++i) {
    add(header.gaps[i].first);
    from = header.gaps[i].first + header.gaps[i].count;
  }
  add(header.high + 1);
  return text;
}

std::string FrameText(const Header& header) {
  switch (header.type) {
    case PacketType::kData:
      return fmt::format("\"frame_type\":\"span_data\",\"message\":{},\"datagram\":{}",
                         header.message, header.index);
    case PacketType::kParity:
      return fmt::format("\"frame_type\":\"span_parity\",\"message\":{},\"datagram\":{},\"row\":{}",
                         header.message, header.index, header.row);
    case PacketType::kAck:
      return fmt::format("\"frame_type\":\"ack\",\"ack_delay\":{:.6f},\"ack_ranges\":[{}]",
                         header.delay_ns * 1e-6, AckRanges(header));
    case PacketType::kPing:
      return "\"frame_type\":\"ping\"";
    case PacketType::kPong:
      return "\"frame_type\":\"span_pong\"";
    case PacketType::kClose:
    case PacketType::kRefuse:
      return fmt::format("\"frame_type\":\"connection_close\",\"reason\":\"{}\"",
                         ToText(header.reason));
    case PacketType::kClosed:
      return "\"frame_type\":\"span_closed\"";
    default:
      return "\"frame_type\":\"span_handshake\"";
  }
}

std::string HeaderText(std::string_view packet_type, uint64_t number, uint64_t connection) {
  return fmt::format(
      "\"header\":{{\"packet_type\":\"{}\",\"packet_number\":{},\"dcid\":\"{:016x}\"}}",
      packet_type, number, connection);
}

// `bytes` is the length of all of it, of which `datagram` may have the header only.
std::string PacketText(std::span<const uint8_t> datagram, size_t bytes) {
  Header header;
  uint32_t header_bytes = 0;
  if (ParseHeader(datagram, header, header_bytes) != Drop::kNone) {
    return fmt::format("\"raw\":{{\"length\":{}}}", bytes);
  }
  return fmt::format("{},\"raw\":{{\"length\":{}}},\"path\":{},\"frames\":[{{{}}}]",
                     HeaderText(PacketTypeText(header.type), header.number, header.connection),
                     bytes, header.path, FrameText(header));
}

uint64_t Dropped(const SpanCounters& counters) {
  return std::accumulate(counters.dropped.begin(), counters.dropped.end(), uint64_t{0});
}

std::string_view LastDrop(const SpanCounters& before, const SpanCounters& after) {
  for (size_t i = 0; i < kDropCount; ++i) {
    if (after.dropped[i] != before.dropped[i]) return ToText(static_cast<Drop>(i));
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<QlogEndpoint>> QlogEndpoint::Create(SpanConfig config,
                                                           const std::filesystem::path& file) {
  std::FILE* opened = std::fopen(file.c_str(), "w");
  if (opened == nullptr) {
    return Fail(ErrorCode::kIo, fmt::format("cannot be written: {}", std::strerror(errno)),
                file.string());
  }
  std::unique_ptr<QlogEndpoint> made(new QlogEndpoint(opened));
  config.observer = made.get();
  auto span = Span::Create(config);
  if (!span) return tl::unexpected(span.error());
  made->span_ = std::move(*span);
  fmt::print(opened, kPreamble, config.recovery, config.congestion);
  return made;
}

void QlogEndpoint::on_datagrams(TimeNs now, std::span<const RxView> received) {
  for (const RxView& view : received) {
    const SpanCounters before = span_->counters();
    span_->on_datagrams(now, {&view, 1});
    const std::string packet = PacketText(view.bytes, view.bytes.size() + view.payload_bytes);
    if (Dropped(span_->counters()) == Dropped(before)) {
      write(view.at, "packet_received", packet);
    } else {
      write(view.at, "packet_dropped",
            fmt::format("{},\"details\":\"{}\"", packet, LastDrop(before, span_->counters())));
    }
  }
  write_metrics(now);
}

size_t QlogEndpoint::poll_transmit(TimeNs now, TimeNs horizon, std::span<TxSlot> slots) {
  const size_t count = span_->poll_transmit(now, horizon, slots);
  for (const TxSlot& slot : slots.first(count)) {
    write(slot.tx_time, "packet_sent",
          PacketText(std::span(slot.header).first(slot.header_bytes), slot.bytes()));
  }
  return count;
}

void QlogEndpoint::on_timeout(TimeNs now) {
  span_->on_timeout(now);
  write_metrics(now);
}

void QlogEndpoint::on_lost(const LostInfo& lost) {
  write(lost.now, "packet_lost",
        fmt::format("{},\"path\":{},\"trigger\":\"{}\"",
                    HeaderText("1RTT", lost.number, lost.connection), lost.path,
                    lost.reported ? "time_threshold" : "pto_expired"));
}

void QlogEndpoint::write(TimeNs at, std::string_view event, std::string_view data) {
  fmt::print(file_.get(), "\x1e{{\"time\":{:.6f},\"name\":\"quic:{}\",\"data\":{{{}}}}}\n",
             Milliseconds(at), event, data);
}

void QlogEndpoint::write_metrics(TimeNs now) {
  told_.resize(span_->path_count());
  for (size_t i = 0; i < told_.size(); ++i) write_path(now, i, told_[i]);
}

void QlogEndpoint::write_path(TimeNs now, size_t i, Metrics& told) {
  Path& path = span_->path(i);
  const PathView view = path.view();
  const Metrics is{view.smoothed_rtt,        view.min_rtt,
                   view.rtt_variation,       path.controller().window_bytes(),
                   path.inflight(),          path.pacing_rate().bits_per_s,
                   path.controller().state()};
  if (is == told) return;
  if (is.state != told.state) {
    write(now, "congestion_state_updated", fmt::format("\"path\":{},\"new\":\"{}\"", i, is.state));
  }
  write(now, "recovery_metrics_updated",
        fmt::format("\"path\":{},\"smoothed_rtt\":{:.6f},\"min_rtt\":{:.6f},\"rtt_variance\":"
                    "{:.6f},\"congestion_window\":{},\"bytes_in_flight\":{},\"pacing_rate\":{}",
                    i, Milliseconds(is.smoothed_rtt), Milliseconds(is.min_rtt),
                    Milliseconds(is.variation), is.window, is.inflight, is.rate));
  told = is;
}

Result<std::unique_ptr<Endpoint>> MakeSpan(const SpanConfig& config,
                                           const std::filesystem::path& directory,
                                           const std::string& name) {
  if (directory.empty()) return Span::Create(config);
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  if (error) return Fail(ErrorCode::kIo, error.message(), directory.string());
  return QlogEndpoint::Create(config, directory / (name + ".sqlog"));
}

}  // namespace farspan::transport
