// Which endpoint stands for a transport's name in virtual time.
//
//   span                 the project's own, with its recovery and congestion control
//   rc-gbn, rc-sr, tcp   models of the baselines: transports/baselines/model_endpoint.h
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "emulator/base/result.h"
#include "transports/baselines/model_config.h"
#include "transports/core/endpoint.h"

namespace farspan::testbed {

struct EndpointSpec {
  std::string transport = "span";
  std::string recovery = "auto";  // span
  std::string congestion;         // empty: bbr (span), fixed (rc-*), cubic (tcp)
  uint32_t payload_bytes = 0;     // 0: 4096, tcp 1448
  Rate rate{};                    // `fixed`: the provisioned wire rate; others: a ceiling, 0 none
  bool lengths_only = false;
  TimeNs timeout{10'000'000'000};
  std::string qlog;  // span: a directory for one file per rank; empty: none
  uint64_t seed = 1;
  baselines::RcConfig rc;
  baselines::TcpModelConfig tcp;

  // What an empty or zero field stands for.
  std::string congestion_or_usual() const;
  uint32_t payload_or_usual() const;
};

std::vector<std::string_view> EndpointNames();
// The least that stands around a full payload on the wire: headers, and framing of 38 bytes.
uint32_t OverheadBytes(std::string_view transport);
// Ranks of one run have different `rank`s. Unknown names are errors that list the known ones.
Result<std::unique_ptr<transport::Endpoint>> MakeEndpoint(const EndpointSpec& spec, uint32_t rank);
transport::Properties PropertiesOf(const EndpointSpec& spec);

}  // namespace farspan::testbed
