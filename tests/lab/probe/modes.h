// The four things the probe does; each ends by itself, at the latest after `seconds_max`.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

namespace farspan::probe {

struct SendOptions {
  std::string to;
  uint16_t port = 5600;
  double packets_per_s = 1000;
  uint64_t count = 1000;
  uint32_t bytes = 1000;  // UDP payload
  uint32_t batch = 1;     // up to so many that are due together go by one sendmmsg
  uint8_t tos = 0;
  double seconds_max = 60;
  std::string trace;  // CSV: sequence,sent_ns
};
// Stamps each packet just before the system call that sends it. A batch shares one call, so its
// later packets seem delayed by the kernel's time for the earlier ones: delays want batch 1.
nlohmann::json Send(const SendOptions& options);

struct ReceiveOptions {
  uint16_t port = 5600;
  double idle_s = 1;  // ends so long after the last packet; waits for the first one
  double seconds_max = 60;
  uint64_t expected = 100'000;  // memory is taken for so many before the start
  uint32_t gaps_max = 1000;
  std::string trace;  // CSV: sequence,sent_ns,received_ns,tos, in order of arrival
};
// Arrival is the kernel's stamp of the packet, so the time until this program woke does not count.
nlohmann::json Receive(const ReceiveOptions& options);

// Sends back what comes, with the times of its arrival (the kernel's stamp) and of its departure.
nlohmann::json Reflect(uint16_t port, double seconds_max);

struct RttOptions {
  std::string to;
  uint16_t port = 5601;
  uint32_t count = 200;
  double interval_s = 0.01;
  uint32_t bytes = 64;
  double timeout_s = 2;  // after the last one
};
// Round trips through Reflect less the time they spent in it, as TWAMP has it (RFC 5357, section
// 4.2.1): neither program's waking up counts. A second implementation beside ping.
nlohmann::json MeasureRtt(const RttOptions& options);

}  // namespace farspan::probe
