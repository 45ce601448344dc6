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

// Whether one closed form describes the whole run.
const char* WhyNotJudged(const DirectionSpec& spec) {
  if (spec.lanes.size() > 1) return "not judged: one flow takes one of several lanes";
  const bool changes = std::any_of(spec.timeline.begin(), spec.timeline.end(),
                                   [](const link::TimelineEvent& e) { return !e.triggered; });
  return changes ? "not judged: the link changes during the run" : nullptr;
}

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
std::optional<double> AskedLoss(const DirectionSpec& spec) {
  const link::LossSpec& loss = spec.lanes[0].loss;
  if (loss.kind == LossKind::kNone) return 0;
  if (loss.kind == LossKind::kTrace) return std::nullopt;
  return link::ExpectedLoss(loss, link::WireBytes(kFullFrameBytes), spec.lanes[0].rate);
}

Row LossRow(const std::string& name, const DirectionSpec& spec, const ProbeReport& probe) {
  const auto lost = static_cast<uint64_t>(std::count(probe.lost.begin(), probe.lost.end(), 1.0));
  const std::optional<double> asked = AskedLoss(spec);
  Row row = CountRow(name, asked.value_or(1), lost, probe.sent, " probes");
  const LossKind kind = spec.lanes[0].loss.kind;
  if (kind == LossKind::kGilbertElliott || kind == LossKind::kBurst) {
    const Interval interval = MeanInterval(probe.lost);
    row.low = std::max(0.0, interval.low);
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
Row RateRow(const std::string& name, const DirectionSpec& spec, const FloodReport& flood) {
  const auto rate = static_cast<double>(spec.lanes[0].rate.bits_per_s);
  const std::optional<double> loss = AskedLoss(spec);
  const double passed = 1 - loss.value_or(0);
  const auto n = static_cast<double>(std::max<uint64_t>(flood.received, 1));
  const double frames = (loss == 0.0 ? 0 : 2) / n;
  const double chance = 3.29 * std::sqrt(loss.value_or(0) * passed / n);
  const double jitter = 6.6 * static_cast<double>(spec.jitter.deviation.ns) /
                        static_cast<double>(std::max<int64_t>(flood.lasted.ns, 1));
  const double rounding = 2 / static_cast<double>(std::max<int64_t>(flood.lasted.ns, 1));
  const double slack = flood.bits_per_s * (frames + chance + jitter + rounding);
  Row row{name,
          rate * passed / 1e6,
          flood.bits_per_s / 1e6,
          "Mb/s",
          (flood.bits_per_s - slack) / 1e6,
          (flood.bits_per_s + slack) / 1e6,
          "offered 1.2 times as much; wire size"};
  const LossKind kind = spec.lanes[0].loss.kind;
  if (!loss || kind == LossKind::kGilbertElliott || kind == LossKind::kBurst) {
    row.asked.reset();
    row.note = "not judged: what the fiber loses comes in bursts";
  }
  return row;
}

Row RttRow(const SurveySpec& asked, const PingReport& ping) {
  double expected = 0;
  for (const DirectionSpec* spec : {&asked.ab, &asked.ba}) {
    expected += static_cast<double>(
        (link::OneWayDelay(spec->lanes[0].path) + ServiceTime(*spec, kPingFrameBytes)).ns);
  }
  Row row = MeanRow(
      "RTT, mean of ping", expected, ping.rtt_ns, kNsPerMs, "ms",
      std::to_string(ping.rtt_ns.size()) + " of " + std::to_string(ping.sent) + " answered");
  for (const DirectionSpec* spec : {&asked.ab, &asked.ba}) {
    if (const char* why = WhyNotJudged(*spec)) {
      row.asked.reset();
      row.note = why;
    }
  }
  return row;
}

void JudgeDirection(const std::string& direction, const DirectionSpec& spec,
                    const DirectionReport& report, std::vector<Row>& rows) {
  const ProbeReport& probe = report.probe;
  std::vector<Row> judged;
  const TimeNs one_way = link::OneWayDelay(spec.lanes[0].path) + ServiceTime(spec, kFullFrameBytes);
  judged.push_back(MeanRow("delay, one way", static_cast<double>(one_way.ns), probe.delay_ns,
                           kNsPerMs, "ms", "fiber and serialisation of a full frame"));
  judged.push_back(JitterRow("jitter", spec, probe));
  judged.push_back(LossRow("loss", spec, probe));
  const auto received = static_cast<uint64_t>(probe.delay_ns.size());
  judged.push_back(Exactly("reordered", 0, static_cast<double>(probe.reordered), "packets"));
  if (spec.jitter.reorder) {
    judged.back().asked.reset();
    judged.back().note = "asked for with the jitter";
  }
  judged.push_back(CountRow("duplicated", spec.duplicate, probe.duplicated, received, " received"));
  judged.push_back(CountRow("corrupted", spec.corrupt, probe.corrupted, received, " received"));
  if (spec.lanes[0].rate.bits_per_s != 0) judged.push_back(RateRow("rate", spec, report.flood));
  if (const char* why = WhyNotJudged(spec)) {
    for (Row& row : judged) {
      row.asked.reset();
      row.note = why;
    }
  }
  judged.push_back(Exactly("own drops and unaccounted", 0,
                           static_cast<double>(probe.own_drops + probe.unaccounted), "packets"));
  for (Row& row : judged) {
    row.name += ", " + direction;
    rows.push_back(std::move(row));
  }
}

}  // namespace

std::vector<Row> Judge(const SurveySpec& asked, const SurveyReport& report) {
  std::vector<Row> rows{RttRow(asked, report.ping)};
  JudgeDirection("a to b", asked.ab, report.ab, rows);
  JudgeDirection("b to a", asked.ba, report.ba, rows);
  return rows;
}

bool AllPass(const std::vector<Row>& rows) {
  return std::all_of(rows.begin(), rows.end(), [](const Row& row) { return row.pass(); });
}

}  // namespace farspan::survey
