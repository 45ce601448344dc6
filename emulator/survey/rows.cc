#include "emulator/survey/rows.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "emulator/link/loss.h"
#include "emulator/link/path.h"
#include "emulator/survey/interval.h"

namespace farspan::survey {
namespace {

using link::DirectionSpec;
using link::LossKind;

constexpr double kNsPerMs = 1e6;
constexpr double kNsPerUs = 1e3;

// Fiber, equipment and the frame's time on the wire.
double OneWayNs(const DirectionSpec& spec, const link::LaneSpec& lane, uint32_t frame_bytes) {
  const TimeNs service = ServiceTime(spec.bottleneck, lane.rate, frame_bytes);
  return static_cast<double>((link::OneWayDelay(lane.path) + service).ns);
}

// All measurements are of one flow, which takes one lane: the one whose delay the probe found.
const link::LaneSpec& LaneTaken(const DirectionSpec& spec, const ProbeReport& probe) {
  const double measured = Mean(probe.delay_ns);
  return *std::min_element(spec.lanes.begin(), spec.lanes.end(), [&](auto& a, auto& b) {
    return std::abs(OneWayNs(spec, a, kFullFrameBytes) - measured) <
           std::abs(OneWayNs(spec, b, kFullFrameBytes) - measured);
  });
}

// Whether one closed form describes what was measured until `end`.
bool ChangesBefore(const DirectionSpec& spec, TimeNs end) {
  return std::any_of(spec.timeline.begin(), spec.timeline.end(),
                     [&](const link::TimelineEvent& e) { return !e.triggered && e.at < end; });
}

void DoNotJudge(Row& row, const char* why) {
  row.asked.reset();
  row.note = why;
}
constexpr const char* kChanges = "not judged: the link changes meanwhile";

Row Exactly(std::string name, double asked, double measured, std::string unit,
            std::string note = {}) {
  return {std::move(name), asked, measured, std::move(unit), measured, measured, std::move(note)};
}

// The mean of a series, an exact one if nothing in it varies.
Row MeanRow(std::string name, double asked, const std::vector<double>& series, double scale,
            std::string unit, std::string note) {
  Row row{std::move(name), asked / scale, Mean(series) / scale, std::move(unit), 0, 0,
          std::move(note)};
  if (series.size() < kBlocks) {
    row.low = row.high = row.measured;
    return row;
  }
  const Interval interval = MeanInterval(series);
  row.low = interval.low / scale;
  row.high = interval.high / scale;
  return row;
}

Row CountRow(std::string name, double asked, uint64_t hits, uint64_t trials, std::string of) {
  const std::string note = std::to_string(hits) + " of " + std::to_string(trials) + std::move(of);
  const double measured =
      static_cast<double>(hits) / static_cast<double>(std::max<uint64_t>(trials, 1));
  if (asked == 0) return Exactly(std::move(name), 0, measured, "", note);
  const Interval interval = ProportionInterval(hits, trials);
  return {std::move(name), asked, measured, "", interval.low, interval.high, note};
}

// The probability that a full-size frame is lost; none for a trace, which is not random.
std::optional<double> AskedLoss(const link::LaneSpec& lane) {
  const link::LossSpec& loss = lane.loss;
  if (loss.kind == LossKind::kNone) return 0;
  if (loss.kind == LossKind::kTrace) return std::nullopt;
  return link::ExpectedLoss(loss, link::WireBytes(kFullFrameBytes), lane.rate);
}

// By how much bursts widen the variance of a count of losses: E[L^2] / E[L] of their lengths L,
// geometric ones with mean 1 / r, or fixed.
double BurstEffect(const link::LossSpec& loss) {
  return loss.kind == LossKind::kBurst ? loss.burst_frames : std::max(1.0, 2 / loss.ge_r);
}

Row LossRow(const std::string& name, const link::LaneSpec& lane, const ProbeReport& probe) {
  const auto lost = static_cast<uint64_t>(std::count(probe.lost.begin(), probe.lost.end(), 1.0));
  const std::optional<double> asked = AskedLoss(lane);
  Row row = CountRow(name, asked.value_or(1), lost, probe.sent, " probes");
  const LossKind kind = lane.loss.kind;
  if (kind == LossKind::kGilbertElliott || kind == LossKind::kBurst) {
    const Interval interval = ProportionInterval(lost, probe.sent, BurstEffect(lane.loss));
    row.low = interval.low;
    row.high = interval.high;
    row.note += ", in bursts";
  }
  if (!asked) {
    row.asked.reset();
    row.note += "; not judged: a trace";
  }
  return row;
}

// The square root of the mean squared deviation from the mean.
Row JitterRow(const std::string& name, const DirectionSpec& spec, const ProbeReport& probe) {
  const double mean = Mean(probe.delay_ns);
  std::vector<double> squares;
  for (const double delay : probe.delay_ns) squares.push_back((delay - mean) * (delay - mean));
  Row row = MeanRow(name, 0, squares, 1, "us", "standard deviation of the one-way delay");
  for (double* value : {&row.measured, &row.low, &row.high}) {
    *value = std::sqrt(std::max(0.0, *value)) / kNsPerUs;
  }
  row.asked = static_cast<double>(spec.jitter.deviation.ns) / kNsPerUs;
  return row;
}

// Over the flood: the rate, less what the fiber loses; the ends are known to a frame, and to the
// jitter.
Row RateRow(const std::string& name, const DirectionSpec& spec, const link::LaneSpec& lane,
            const FloodReport& flood) {
  const auto rate = static_cast<double>(lane.rate.bits_per_s);
  const std::optional<double> loss = AskedLoss(lane);
  const double passed = 1 - loss.value_or(0);
  const auto n = static_cast<double>(std::max<uint64_t>(flood.received, 1));
  const double frames = (loss == 0.0 ? 0 : 2) / n;
  const double chance = 3.29 * std::sqrt(loss.value_or(0) * passed / n);
  const double jitter = 6.6 * static_cast<double>(spec.jitter.deviation.ns) /
                        static_cast<double>(std::max<int64_t>(flood.received_for.ns, 1));
  const double rounding = 2 / static_cast<double>(std::max<int64_t>(flood.received_for.ns, 1));
  const double slack = flood.bits_per_s * (frames + chance + jitter + rounding);
  Row row{name,
          rate * passed / 1e6,
          flood.bits_per_s / 1e6,
          "Mb/s",
          (flood.bits_per_s - slack) / 1e6,
          (flood.bits_per_s + slack) / 1e6,
          "offered 1.2 times as much; wire size"};
  const LossKind kind = lane.loss.kind;
  if (!loss || kind == LossKind::kGilbertElliott || kind == LossKind::kBurst) {
    row.asked.reset();
    row.note = "not judged: what the fiber loses comes in bursts";
  }
  return row;
}

Row RttRow(const SurveySpec& asked, const SurveyReport& report) {
  const PingReport& ping = report.ping;
  const double expected =
      OneWayNs(asked.ab, LaneTaken(asked.ab, report.ab.probe), kPingFrameBytes) +
      OneWayNs(asked.ba, LaneTaken(asked.ba, report.ba.probe), kPingFrameBytes);
  Row row = MeanRow(
      "RTT, mean of ping", expected, ping.rtt_ns, kNsPerMs, "ms",
      std::to_string(ping.rtt_ns.size()) + " of " + std::to_string(ping.sent) + " answered");
  if (ChangesBefore(asked.ab, ping.lasted) || ChangesBefore(asked.ba, ping.lasted)) {
    DoNotJudge(row, kChanges);
  }
  return row;
}

std::vector<Row> ProbeRows(const DirectionSpec& spec, const link::LaneSpec& lane,
                           const ProbeReport& probe) {
  const auto received = static_cast<uint64_t>(probe.delay_ns.size());
  std::vector<Row> rows;
  rows.push_back(MeanRow("delay, one way", OneWayNs(spec, lane, kFullFrameBytes), probe.delay_ns,
                         kNsPerMs, "ms", "fiber and serialisation of a full frame"));
  rows.push_back(JitterRow("jitter", spec, probe));
  rows.push_back(LossRow("loss", lane, probe));
  rows.push_back(Exactly("reordered", 0, static_cast<double>(probe.reordered), "packets"));
  if (spec.jitter.reorder) DoNotJudge(rows.back(), "asked for with the jitter");
  rows.push_back(CountRow("duplicated", spec.duplicate, probe.duplicated, received, " received"));
  rows.push_back(CountRow("corrupted", spec.corrupt, probe.corrupted, received, " received"));
  if (ChangesBefore(spec, probe.lasted)) {
    for (Row& row : rows) DoNotJudge(row, kChanges);
  }
  return rows;
}

void JudgeDirection(const std::string& direction, const DirectionSpec& spec,
                    const DirectionReport& report, std::vector<Row>& rows) {
  const link::LaneSpec& lane = LaneTaken(spec, report.probe);
  std::vector<Row> judged = ProbeRows(spec, lane, report.probe);
  if (report.flood.received > 0) {
    judged.push_back(RateRow("rate", spec, lane, report.flood));
    if (ChangesBefore(spec, report.flood.lasted)) DoNotJudge(judged.back(), kChanges);
  }
  const uint64_t own = report.probe.own_drops + report.probe.unaccounted;
  judged.push_back(Exactly("own drops and unaccounted", 0, static_cast<double>(own), "packets"));
  for (Row& row : judged) {
    row.name += ", " + direction;
    rows.push_back(std::move(row));
  }
}

}  // namespace

std::vector<Row> Judge(const SurveySpec& asked, const SurveyReport& report) {
  std::vector<Row> rows{RttRow(asked, report)};
  JudgeDirection("a to b", asked.ab, report.ab, rows);
  JudgeDirection("b to a", asked.ba, report.ba, rows);
  return rows;
}

bool AllPass(const std::vector<Row>& rows) {
  return std::all_of(rows.begin(), rows.end(), [](const Row& row) { return row.pass(); });
}

}  // namespace farspan::survey
