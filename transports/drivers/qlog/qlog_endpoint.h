// QlogEndpoint: a Span that writes what it does as qlog.
//
// Source: draft-ietf-quic-qlog-main-schema-13 (JSON text sequences, RFC 7464, one file for each
// endpoint) and draft-ietf-quic-qlog-quic-events-13, so that tools made for QUIC can draw it. Span
// is not QUIC: HELLO stands as "initial", RETRY as "retry", ACCEPT and REFUSE as "handshake", all
// else as "1RTT"; each packet has one frame, whose type is Span's own but for "ack", "ping" and
// "connection_close"; packet numbers are those on the wire (32 bits), counted for each path, data
// and parity apart from the rest. Lengths are of the datagram without framing.
//
// Events: quic:packet_sent (at its departure), packet_received, packet_dropped, packet_lost,
// recovery_metrics_updated (after datagrams have been taken, where they changed something) and
// congestion_state_updated (where the controller tells its states). Times are milliseconds of the
// driver's clock, which is CLOCK_MONOTONIC in real time: files of one machine can be laid side by
// side. Not flushed before the end but by the C library; a full disk cuts the file short.
//
// Threading, ownership, units: as endpoint.h. It writes on the thread that carries data, about a
// microsecond for each packet: not for measuring speed.
#pragma once

#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "transports/core/observer.h"
#include "transports/core/wrapped_span.h"

namespace farspan::transport {

class QlogEndpoint final : public WrappedSpan, private Observer {
 public:
  // Writes to `file`, which is made anew.
  static Result<std::unique_ptr<QlogEndpoint>> Create(SpanConfig config,
                                                      const std::filesystem::path& file);

  void on_datagrams(TimeNs now, std::span<const RxView> received) override;
  size_t poll_transmit(TimeNs now, TimeNs horizon, std::span<TxSlot> slots) override;
  void on_timeout(TimeNs now) override;

 private:
  struct Metrics {
    TimeNs smoothed_rtt{}, min_rtt{}, variation{};
    uint64_t window = 0, inflight = 0, rate = 0;
    std::string_view state{};
    friend bool operator==(const Metrics&, const Metrics&) = default;
  };

  explicit QlogEndpoint(std::FILE* file) : WrappedSpan(nullptr), file_(file, &std::fclose) {}
  void on_lost(const LostInfo& lost) override;
  // `data` is what stands between the braces.
  void write(TimeNs at, std::string_view event, std::string_view data);
  void write_metrics(TimeNs now);
  void write_path(TimeNs now, size_t path, Metrics& told);

  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file_;
  std::vector<Metrics> told_;  // of each path
};

// A Span; it writes DIRECTORY/NAME.sqlog, and makes the directory, unless that is empty.
Result<std::unique_ptr<Endpoint>> MakeSpan(const SpanConfig& config,
                                           const std::filesystem::path& directory,
                                           const std::string& name);

}  // namespace farspan::transport
