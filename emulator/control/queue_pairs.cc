#include "emulator/control/queue_pairs.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <nlohmann/json.hpp>

namespace farspan::control {
namespace {

using json = nlohmann::ordered_json;

std::string AddressText(const roce::IpAddress& address, uint8_t ip_version) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  inet_ntop(ip_version == 4 ? AF_INET : AF_INET6, address.data(), text.data(), text.size());
  return text.data();
}

std::string_view ServiceText(roce::Service service) {
  constexpr std::array<std::string_view, 5> kNames{"rc", "uc", "ud", "xrc", "cnp"};
  return kNames[static_cast<size_t>(service)];
}

json TapJson(const roce::TapCounters& tap) {
  json acknowledgements = json::object();
  for (int i = 1; i < roce::kAckKindCount; ++i) {
    const auto kind = static_cast<roce::AckKind>(i);
    acknowledgements[std::string(ToText(kind))] = tap.acks[static_cast<size_t>(i)];
  }
  return {{"packets", tap.packets},
          {"frame_bytes", tap.frame_bytes},
          {"payload_bytes", tap.payload_bytes},
          {"goodput_bytes", tap.goodput_bytes},
          {"messages", tap.messages},
          {"responses", tap.responses},
          {"repeated_packets", tap.repeated},
          {"gaps", tap.gaps},
          {"missing_packets", tap.missing},
          {"ce_packets", tap.ce},
          {"cnps", tap.cnps},
          {"acknowledgements", std::move(acknowledgements)}};
}

json RecoveryJson(const roce::RecoveryTimes& times) {
  if (times.count == 0) return {{"count", 0}};
  return {{"count", times.count},
          {"min_ns", times.min.ns},
          {"mean_ns", times.sum_ns / static_cast<int64_t>(times.count)},
          {"max_ns", times.max.ns}};
}

json QueuePairJson(const roce::QpSnapshot& qp) {
  const roce::QpCounters& c = qp.counters;
  json out{{"direction", qp.direction == 0 ? "ab" : "ba"},
           {"source", AddressText(qp.src, qp.ip_version)},
           {"destination", AddressText(qp.dst, qp.ip_version)},
           {"source_qp", nullptr},
           {"destination_qp", qp.dest_qp},
           {"service", ServiceText(qp.service)},
           {"matched", qp.matched},
           {"path_mtu", nullptr},
           {"next_psn", qp.next_psn},
           {"expected_psn", qp.expected_psn},
           {"acknowledged_psn", qp.acknowledged_psn},
           {"outstanding_losses", qp.outstanding_losses},
           {"first_seen_ns", qp.first_seen.ns},
           {"last_seen_ns", qp.last_seen.ns},
           {"ingress", TapJson(c.ingress)},
           {"egress", TapJson(c.egress)},
           {"dropped_packets", c.dropped},
           {"corrupted_packets", c.corrupted},
           {"spurious_retransmissions", c.spurious},
           {"undecided_retransmissions", c.undecided},
           {"restarts", c.restarts},
           {"recovery", RecoveryJson(c.recovery)}};
  if (qp.src_qp != 0) out["source_qp"] = qp.src_qp;
  if (qp.path_mtu != 0) out["path_mtu"] = qp.path_mtu;
  return out;
}

}  // namespace

std::string QueuePairsJson(std::string_view link, std::vector<roce::QpSnapshot> queue_pairs,
                           size_t limit) {
  std::stable_sort(queue_pairs.begin(), queue_pairs.end(), [](const auto& a, const auto& b) {
    return a.counters.ingress.frame_bytes > b.counters.ingress.frame_bytes;
  });
  json shown = json::array();
  for (size_t i = 0; i < std::min(limit, queue_pairs.size()); ++i) {
    shown.push_back(QueuePairJson(queue_pairs[i]));
  }
  const json out{{"schema", "farspan.queue_pairs.v1"},
                 {"link", link},
                 {"followed", queue_pairs.size()},
                 {"queue_pairs", std::move(shown)}};
  return out.dump() + "\n";
}

Result<size_t> ParseLimit(std::string_view text) {
  size_t limit = kQueuePairsShown;
  if (text.empty()) return limit;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), limit);
  if (error == std::errc{} && end == text.data() + text.size() && limit > 0) return limit;
  return Fail(ErrorCode::kInvalid,
              fmt::format("\"limit\" is \"{}\"; expected how many queue pairs to show", text));
}

}  // namespace farspan::control
