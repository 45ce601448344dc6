#include <algorithm>

#include "emulator/config/files.h"
#include "emulator/config/readers.h"
#include "emulator/config/trace_file.h"
#include "emulator/link/path.h"

namespace farspan::config {
namespace {

using link::kAllLanes;

enum class Action { kCut, kRestore, kPath, kProtection, kRate, kLoss, kLossRamp, kJitter, kEpoch };
constexpr Word<Action> kActions[] = {{"cut", Action::kCut},
                                     {"restore", Action::kRestore},
                                     {"path", Action::kPath},
                                     {"protection-switch", Action::kProtection},
                                     {"rate", Action::kRate},
                                     {"loss", Action::kLoss},
                                     {"loss-ramp", Action::kLossRamp},
                                     {"jitter", Action::kJitter},
                                     {"epoch", Action::kEpoch}};

// Reads one [[timeline]] table into events of one direction.
class EventReader {
 public:
  EventReader(const toml::table& table, Section& parent, bool mirrored, Direction& direction)
      : section_(parent.diagnostics(), "a timeline event", {{&table, true}}),
        mirrored_(mirrored),
        direction_(direction) {}

  void read(std::vector<NamedEvent>& named) {
    const size_t first = events().size();
    std::string name;
    section_.read("name", name);
    read_time();
    read_lane();
    Action action{};
    if (section_.read_word<Action>("action", action, kActions)) {
      read_action(action);
    } else {
      section_.fail(
          "has no \"action\"; expected cut, restore, path, protection-switch, rate, "
          "loss, loss-ramp, jitter or epoch");
    }
    section_.finish();
    if (!event_.triggered) return;
    if (name.empty()) {
      section_.fail("waits for a trigger (\"after\"), but has no \"name\" for a rule to say");
    }
    if (events().size() != first + 1) {
      section_.fail("name",
                    "waits for a trigger, so it has to be one event; expected a lane, "
                    "and no ramp");
    }
    named.push_back({name, static_cast<uint32_t>(first)});
  }

 private:
  std::vector<link::TimelineEvent>& events() { return direction_.spec.timeline; }
  int lane_count() const { return static_cast<int>(direction_.spec.lanes.size()); }

  void add(TimeNs at, link::Change change) {
    event_.at = at;
    event_.change = std::move(change);
    events().push_back(event_);
  }

  void read_time() {
    const std::string_view key = section_.one_of({"at", "after"});
    event_.triggered = key == "after";
    if (key.empty()) {
      section_.fail("has neither \"at\" (since the start) nor \"after\" (since its trigger)");
    } else {
      section_.read(key, at_);
    }
  }

  void read_lane() {
    uint32_t lane = 0;
    if (!section_.read_count("lane", lane, 0, static_cast<uint64_t>(lane_count() - 1))) return;
    lane_ = static_cast<int>(lane);
  }

  // What a lane's path is just before this event, as far as earlier ones of the timeline say.
  link::PathSpec path_of(int lane) const {
    const link::PathSpec* path = &direction_.spec.lanes[static_cast<size_t>(lane)].path;
    TimeNs latest{-1};
    for (const link::TimelineEvent& event : direction_.spec.timeline) {
      if (event.triggered || event.at < latest || event.at > at_) continue;
      const auto consider = [&](const auto& change) {
        if (change.lane != kAllLanes && change.lane != lane) return;
        path = &change.path;
        latest = event.at;
      };
      if (const auto* set = std::get_if<link::SetPath>(&event.change)) consider(*set);
      if (const auto* other = std::get_if<link::ProtectionSwitch>(&event.change)) consider(*other);
    }
    return *path;
  }

  // One event for all lanes where what make(lane) says is the same for each, else one per lane.
  template <typename Make, typename Same>
  void add_per_lane(Make make, Same same) {
    std::vector<int> lanes{lane_};
    if (lane_ == kAllLanes) {
      bool alike = true;
      for (int i = 1; i < lane_count(); ++i) alike = alike && same(make(0), make(i));
      if (!alike) {
        lanes.clear();
        for (int i = 0; i < lane_count(); ++i) lanes.push_back(i);
      }
    }
    for (const int lane : lanes) {
      auto change = make(lane == kAllLanes ? 0 : lane);
      change.lane = lane;
      add(at_, std::move(change));
    }
  }

  Length position_in(const link::PathSpec& path, Length from_a) {
    if (from_a.mm > path.length.mm) {
      section_.fail("position", ToText(from_a) + " is beyond the path, which has " +
                                    ToText(path.length) + " of glass");
    }
    return mirrored_ ? Length{path.length.mm - from_a.mm} : from_a;
  }

  void read_cut() {
    link::Cut cut;
    section_.read("position", cut.position);
    section_.read("for", cut.duration);
    const auto make = [&](int lane) {
      link::Cut here = cut;
      here.position = position_in(path_of(lane), cut.position);
      return here;
    };
    add_per_lane(make, [](const auto& a, const auto& b) { return a.position == b.position; });
  }

  void read_protection() {
    link::ProtectionSwitch change;
    section_.read("position", change.position);
    if (!section_.read("outage", change.outage)) {
      section_.fail("has no \"outage\"; expected how long nothing passes, \"50 ms\"");
    }
    const auto make = [&](int lane) {
      link::ProtectionSwitch here = change;
      here.path = path_of(lane);
      here.position = position_in(here.path, change.position);
      read_new_path(here.path);
      return here;
    };
    add_per_lane(make, [](const auto& a, const auto& b) {
      return a.position == b.position && SamePath(a.path, b.path);
    });
  }

  void read_path() {
    const auto make = [&](int lane) {
      link::SetPath here{.lane = lane, .path = path_of(lane)};
      read_new_path(here.path);
      return here;
    };
    add_per_lane(make, [](const auto& a, const auto& b) { return SamePath(a.path, b.path); });
  }

  static bool SamePath(const link::PathSpec& a, const link::PathSpec& b) {
    return a.length == b.length && link::OneWayDelay(a) == link::OneWayDelay(b);
  }

  void read_new_path(link::PathSpec& path) {
    std::string source;
    if (!ReadPath(section_, path, source)) {
      section_.fail("has no path; expected one of distance, delay, rtt, route");
    }
  }

  Rate lane_rate() const {
    const auto& lanes = direction_.spec.lanes;
    if (lane_ != kAllLanes) return lanes[static_cast<size_t>(lane_)].rate;
    return std::min_element(lanes.begin(), lanes.end(),
                            [](const auto& a, const auto& b) { return a.rate < b.rate; })
        ->rate;
  }

  link::LossSpec bernoulli(double p) const {
    link::LossSpec loss;
    loss.kind = p == 0 ? link::LossKind::kNone : link::LossKind::kBernoulli;
    loss.keying = lane_rate().bits_per_s != 0 ? link::Keying::kWireTime : link::Keying::kPacket;
    loss.probability = p;
    return loss;
  }

  void read_ramp() {
    double from = 0;
    double to = 0;
    TimeNs over{};
    uint32_t steps = 20;
    if (!section_.read_probability("from", from) || !section_.read_probability("to", to) ||
        !section_.read("over", over)) {
      section_.fail("a loss-ramp has \"from\", \"to\" (probabilities) and \"over\" (a time)");
    }
    section_.read_count("steps", steps, 1, 10'000);
    if (from >= 1 || to >= 1) section_.fail(from >= 1 ? "from" : "to", "expected less than 100 %");
    for (uint32_t i = 0; i <= steps; ++i) {
      const double share = static_cast<double>(i) / steps;
      const auto offset = static_cast<int64_t>(static_cast<double>(over.ns) * share);
      add(at_ + TimeNs{offset}, link::SetLoss{lane_, bernoulli(from + (to - from) * share)});
    }
  }

  void read_action(Action action) {
    switch (action) {
      case Action::kCut:
        return read_cut();
      case Action::kRestore:
        return add(at_, link::Restore{lane_});
      case Action::kPath:
        return read_path();
      case Action::kProtection:
        return read_protection();
      case Action::kRate: {
        link::SetRate change{.lane = lane_, .rate = {}};
        if (!section_.has("rate")) section_.fail("has no \"rate\"; expected \"10 Gbps\"");
        ReadRate(section_, change.rate);
        return add(at_, change);
      }
      case Action::kLoss: {
        link::SetLoss change{.lane = lane_, .loss = {}};
        if (!section_.has("loss")) section_.fail("has no \"loss\"; expected \"1e-4\" or a table");
        ReadLoss(section_, lane_rate(), change.loss);
        return add(at_, change);
      }
      case Action::kLossRamp:
        return read_ramp();
      case Action::kJitter: {
        link::SetJitter change;
        if (!section_.has("jitter")) section_.fail("has no \"jitter\"; expected \"20 us\"");
        ReadJitter(section_, &direction_.directory, change.jitter);
        return add(at_, change);
      }
      case Action::kEpoch:
        return add(at_, link::StartEpoch{});
    }
  }

  Section section_;
  bool mirrored_;
  Direction& direction_;
  link::TimelineEvent event_;
  TimeNs at_{};
  int lane_ = kAllLanes;
};

template <typename T, typename MakeChange>
void ReadTrace(Section& traces, std::string_view key, Direction& direction,
               Result<std::vector<TracePoint<T>>> (*parse)(std::string_view, std::string_view),
               MakeChange make) {
  std::string file;
  if (!traces.read(key, file)) return;
  const auto text = ReadFile(direction.directory / file);
  if (!text) return traces.fail(key, text.error().text());
  const auto points = parse(*text, file);
  if (!points) return traces.diagnostics().fail(points.error());
  for (const TracePoint<T>& point : *points) {
    direction.spec.timeline.push_back({.at = point.at, .change = make(point.value)});
  }
}

}  // namespace

void ReadTimeline(Section& section, Direction& direction) {
  const size_t distance = section.distance("timeline");
  if (distance >= section.layers().size()) return;
  const bool shared = !section.layers()[distance].own;
  for (const toml::table* table : section.tables("timeline")) {
    EventReader(*table, section, direction.reversed && shared, direction).read(direction.events);
  }
}

void ReadTraces(Section& section, Direction& direction) {
  const toml::node* node = section.find("traces");
  if (!node) return;
  const toml::table* table = node->as_table();
  if (!table) {
    return section.fail(*node, "traces", "expected a table such as {rate = \"rate.csv\"}");
  }
  Section traces(section.diagnostics(), "traces", {{table, true}});
  const auto has_rate = [](const link::LaneSpec& lane) { return lane.rate.bits_per_s != 0; };
  const auto& lanes = direction.spec.lanes;
  const bool by_wire_time = std::all_of(lanes.begin(), lanes.end(), has_rate);
  ReadTrace<Rate>(traces, "rate", direction, ParseRateTrace, [](Rate rate) {
    return link::SetRate{kAllLanes, rate};
  });
  ReadTrace<TimeNs>(traces, "delay", direction, ParseDelayTrace, [](TimeNs delay) {
    return link::SetPath{kAllLanes, link::PathSpec{.delay = delay}};
  });
  ReadTrace<double>(traces, "loss", direction, ParseLossTrace, [&](double p) {
    link::LossSpec loss;
    loss.kind = p == 0 ? link::LossKind::kNone : link::LossKind::kBernoulli;
    loss.keying = by_wire_time ? link::Keying::kWireTime : link::Keying::kPacket;
    loss.probability = p;
    return link::SetLoss{kAllLanes, loss};
  });
  traces.finish();
}

}  // namespace farspan::config
