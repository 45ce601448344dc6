#include "emulator/config/resolve_pfc.h"

#include <fmt/format.h>

#include <algorithm>

#include "emulator/link/packet_ref.h"
#include "emulator/link/pfc.h"

namespace farspan::config {
namespace {

constexpr uint32_t kTaggedHeaderBytes = 18;
constexpr TimeNs kHardwarePollGap{20'000};
constexpr TimeNs kSoftwarePollGap{1'000'000};

// From a pause frame's being due until its sender has obeyed it, at the latest: a refresh must not
// take longer than the half of the quanta that is left by then.
TimeNs LongestWay(const link::PfcSpec& pfc) {
  link::PfcSpec others = pfc;
  others.cable = {};
  const uint64_t bits = (link::PfcHeadroom(others) - 2 * pfc.max_frame_bytes) * 8;
  return {static_cast<int64_t>(static_cast<double>(bits) * 1e9 /
                               static_cast<double>(pfc.line_rate.bits_per_s)) +
          1};
}

Result<void> Resolve(const SiteSpec& sender, const EngineSpec& engine, link::ClassSpec& c,
                     const std::string& where) {
  link::PfcSpec& pfc = *c.pfc;
  const auto fail = [&](std::string message) {
    return Fail(ErrorCode::kInvalid, std::move(message), where);
  };
  if (pfc.line_rate.bits_per_s == 0) pfc.line_rate = sender.port_rate;
  if (pfc.line_rate.bits_per_s == 0) {
    return fail(
        fmt::format("needs the sender's line rate: expected line_rate, or port_rate at site "
                    "\"{}\"",
                    sender.name));
  }
  pfc.max_frame_bytes = link::WireBytes(engine.mtu + kTaggedHeaderBytes);
  if (pfc.reaction.ns == 0) pfc.reaction = link::PfcReaction(pfc.line_rate);
  if (pfc.poll_gap.ns == 0) {
    pfc.poll_gap = sender.port.kind == PortKind::kPci ? kHardwarePollGap : kSoftwarePollGap;
  }
  if (c.limit.bytes == 0 || c.limit.time.ns != 0) {
    return fail(
        "needs a limit in bytes, and none in time: what waits above xoff is room, not time");
  }
  const uint64_t headroom = link::PfcHeadroom(pfc);
  if (headroom >= c.limit.bytes) {
    return fail(
        fmt::format("its headroom is {} bytes (`check` shows its terms with a larger "
                    "limit), the class's limit {}: raise the limit, or lower poll_gap or "
                    "cable",
                    headroom, c.limit.bytes));
  }
  if (pfc.xoff_bytes == 0) pfc.xoff_bytes = c.limit.bytes - headroom;
  if (pfc.xoff_bytes > c.limit.bytes) {
    return fail(fmt::format("xoff is {} bytes, the class's limit {}: expected less", pfc.xoff_bytes,
                            c.limit.bytes));
  }
  if (pfc.xon_bytes == 0) {
    const uint64_t two_frames = 2 * uint64_t{pfc.max_frame_bytes};
    pfc.xon_bytes =
        pfc.xoff_bytes > 2 * two_frames ? pfc.xoff_bytes - two_frames : pfc.xoff_bytes / 2;
  }
  if (pfc.xon_bytes >= pfc.xoff_bytes) {
    return fail(
        fmt::format("xon is {} bytes, xoff {}: expected less", pfc.xon_bytes, pfc.xoff_bytes));
  }
  const TimeNs pause = link::QuantaTime(pfc.quanta, pfc.line_rate);
  if (const TimeNs way = LongestWay(pfc); pause.ns / 2 < way.ns) {
    return fail(fmt::format(
        "{} quanta are {} at {}, too short to be refreshed in time: expected "
        "twice {}, of which the poll gap is {}",
        pfc.quanta, ToText(pause), ToText(pfc.line_rate), ToText(way), ToText(pfc.poll_gap)));
  }
  return {};
}

}  // namespace

PfcOfSite PfcTowards(const EmulatorConfig& config, size_t site) {
  PfcOfSite all;
  const auto add = [&](const link::DirectionSpec& direction) {
    for (const link::ClassSpec& c : direction.bottleneck.classes) {
      if (!c.pfc) continue;
      const TimeNs gap = c.pfc->poll_gap;
      all.poll_gap = all.priorities == 0 ? gap : std::min(all.poll_gap, gap);
      all.priorities |= static_cast<uint8_t>(1u << c.pfc->priority);
      uint16_t& quanta = all.quanta[c.pfc->priority];
      quanta = quanta == 0 ? c.pfc->quanta : std::min(quanta, c.pfc->quanta);
      all.line_rate = std::max(all.line_rate, c.pfc->line_rate);
    }
  };
  for (const LinkSpec& link : config.links) {
    if (link.a == config.sites[site].name) add(link.ab);
    if (link.b == config.sites[site].name) add(link.ba);
  }
  return all;
}

Result<void> ResolvePfc(EmulatorConfig& config) {
  for (LinkSpec& link : config.links) {
    for (const bool reversed : {false, true}) {
      link::BottleneckSpec& bottleneck = (reversed ? link.ba : link.ab).bottleneck;
      const std::string& from = reversed ? link.b : link.a;
      const auto sender = std::find_if(config.sites.begin(), config.sites.end(),
                                       [&](const SiteSpec& s) { return s.name == from; });
      for (link::ClassSpec& c : bottleneck.classes) {
        if (!c.pfc) continue;
        const std::string where = fmt::format("link \"{}\", {}, pfc of class \"{}\"", link.name,
                                              reversed ? "ba" : "ab", c.name);
        if (bottleneck.overhead_bytes != 0 || bottleneck.mpu_bytes != 0) {
          return Fail(ErrorCode::kInvalid,
                      "does not go with overhead or mpu: its headroom counts what is on the wire",
                      where);
        }
        if (auto done = Resolve(*sender, config.engine, c, where); !done) return done;
      }
    }
  }
  return {};
}

}  // namespace farspan::config
