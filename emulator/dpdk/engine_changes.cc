// Live changes to a running engine.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "emulator/dpdk/engine.h"

namespace farspan::dpdk {
namespace {

constexpr TimeNs kAnswerAtMost{2'000'000'000};

template <typename Lanes, typename Function>
void ForLanes(Lanes& lanes, int named, Function function) {
  for (size_t i = 0; i < lanes.size(); ++i) {
    if (named == link::kAllLanes || named == static_cast<int>(i)) function(lanes[i]);
  }
}

}  // namespace

void ApplyTo(link::DirectionSpec& spec, const link::Change& change) {
  if (const auto* path = std::get_if<link::SetPath>(&change)) {
    ForLanes(spec.lanes, path->lane, [&](link::LaneSpec& lane) { lane.path = path->path; });
  } else if (const auto* protect = std::get_if<link::ProtectionSwitch>(&change)) {
    ForLanes(spec.lanes, protect->lane, [&](link::LaneSpec& lane) { lane.path = protect->path; });
  } else if (const auto* rate = std::get_if<link::SetRate>(&change)) {
    ForLanes(spec.lanes, rate->lane, [&](link::LaneSpec& lane) { lane.rate = rate->rate; });
  } else if (const auto* loss = std::get_if<link::SetLoss>(&change)) {
    ForLanes(spec.lanes, loss->lane, [&](link::LaneSpec& lane) { lane.loss = loss->loss; });
  } else if (const auto* jitter = std::get_if<link::SetJitter>(&change)) {
    spec.jitter = jitter->jitter;
  }
}

link::DirectionSpec Engine::direction_spec(size_t number) const {
  const std::lock_guard lock(control_);
  return specs_[number];
}

// The capacity is what was planned; would a link like this have been planned larger?
Result<void> Engine::check_headroom(size_t number, const link::DirectionSpec& spec) const {
  config::EmulatorConfig changed = config_;
  config::LinkSpec& link = changed.links[number / 2];
  (number % 2 == 0 ? link.ab : link.ba) = spec;
  const uint64_t needed = config::MakePlan(changed).directions[number].held_packets;
  const uint64_t planned = plan_.directions[number].held_packets;
  if (needed <= planned) return {};
  return Fail(
      ErrorCode::kConflict,
      fmt::format("this would hold up to {} packets, and memory is planned for {}: start the "
                  "emulator with larger engine.headroom.delay, engine.headroom.rate or "
                  "engine.max_packet_rate",
                  needed, planned),
      "link " + link.name);
}

// Of its direction from a to b; the other's is the next.
Result<size_t> Engine::first_number(std::string_view link) const {
  const auto at = std::find_if(config_.links.begin(), config_.links.end(),
                               [&](const config::LinkSpec& l) { return l.name == link; });
  if (at != config_.links.end()) return static_cast<size_t>(at - config_.links.begin()) * 2;
  std::vector<std::string_view> names;
  for (const config::LinkSpec& l : config_.links) names.push_back(l.name);
  return Fail(ErrorCode::kNotFound, fmt::format("there is no link \"{}\"; the links are: {}", link,
                                                fmt::join(names, ", ")));
}

Result<TimeNs> Engine::change(std::string_view link, std::optional<uint32_t> direction,
                              const std::vector<link::Change>& changes) {
  const std::lock_guard lock(control_);
  const auto first = first_number(link);
  if (!first) return tl::unexpected(first.error());
  for (size_t number = *first; number < *first + 2; ++number) {
    if (direction && *direction != number - *first) continue;
    link::DirectionSpec spec = specs_[number];
    for (const link::Change& change : changes) ApplyTo(spec, change);
    if (auto fits = check_headroom(number, spec); !fits) return tl::unexpected(fits.error());
  }
  TimeNs applied{};
  for (size_t number = *first; number < *first + 2; ++number) {
    if (direction && *direction != number - *first) continue;
    auto done = apply(number, changes);
    if (!done) return done;
    applied = std::max(applied, *done);
  }
  update_round_trip(*first);
  return applied - started_;
}

Result<std::vector<roce::QpSnapshot>> Engine::queue_pairs(std::string_view link) const {
  const std::lock_guard lock(control_);
  std::vector<roce::QpSnapshot> all;
  const LinkObserver* before = nullptr;
  bool known = false;
  for (const auto& pipe : pipes_) {
    if (pipe->setup().link->name != link) continue;
    known = true;
    LinkObserver* observer = pipe->setup().observer;
    if (observer == nullptr) {
      return Fail(ErrorCode::kConflict,
                  "queue pairs are not followed: start the emulator with engine.observer.enabled");
    }
    if (observer == before) continue;
    before = observer;
    Result<std::vector<roce::QpSnapshot>> some =
        finished_ ? observer->read_at_rest() : observer->read();
    if (!some) return some;
    for (roce::QpSnapshot& qp : *some) {
      qp.first_seen -= started_;
      qp.last_seen -= started_;
      all.push_back(qp);
    }
  }
  if (!known) return Fail(ErrorCode::kNotFound, fmt::format("there is no link \"{}\"", link));
  return all;
}

void Engine::update_round_trip(size_t number) {
  for (size_t i = number; i < number + 2; ++i) {
    LinkObserver* observer = pipes_[i]->setup().observer;
    if (observer != nullptr) {
      observer->set_round_trip(LeastRoundTrip(specs_[number], specs_[number + 1]));
    }
  }
}

Result<TimeNs> Engine::start_epoch() {
  const std::lock_guard lock(control_);
  TimeNs applied{};
  for (size_t number = 0; number < pipes_.size(); ++number) {
    auto done = apply(number, {link::StartEpoch{}});
    if (!done) return done;
    const config::LinkSpec& link = config_.links[number / 2];
    for (const link::Change& back : link::ChangesBack(number % 2 == 0 ? link.ab : link.ba)) {
      ApplyTo(specs_[number], back);
    }
    applied = std::max(applied, *done);
  }
  return applied - started_;
}

Result<TimeNs> Engine::add_rule(std::string_view link, uint32_t direction,
                                const config::Rule& rule) {
  const std::lock_guard lock(control_);
  const auto first = first_number(link);
  if (!first) return tl::unexpected(first.error());
  if (rule.conditions.roce.needs_observer() &&
      pipes_[*first + direction]->setup().observer == nullptr) {
    return Fail(ErrorCode::kConflict,
                "src_qp, message, index and retransmission are not known, as queue pairs are not "
                "followed: start the emulator with engine.observer.enabled");
  }
  auto edit = rule_books_[*first + direction].add(rule);
  if (!edit) return tl::unexpected(edit.error());
  return apply(*first + direction, std::move(*edit));
}

Result<TimeNs> Engine::remove_rule(std::string_view link, uint32_t direction,
                                   const std::optional<std::string>& name) {
  const std::lock_guard lock(control_);
  const auto first = first_number(link);
  if (!first) return tl::unexpected(first.error());
  auto edit = rule_books_[*first + direction].remove(name);
  if (!edit) return tl::unexpected(edit.error());
  return apply(*first + direction, std::move(*edit));
}

Result<void> Engine::prepare(const Pipe& pipe, const link::Change& change,
                             PipeChange& prepared) const {
  auto built = pipe.link().prepare(change);
  if (!built) {
    Error error = built.error();
    error.context = "link " + pipe.setup().link->name;
    return tl::unexpected(error);
  }
  prepared.link.push_back(std::move(*built));
  return {};
}

Result<TimeNs> Engine::apply(size_t number, const std::vector<link::Change>& changes) {
  PipeChange prepared;
  for (const link::Change& change : changes) {
    if (auto built = prepare(*pipes_[number], change, prepared); !built) {
      return tl::unexpected(built.error());
    }
    prepared.start_epoch |= std::holds_alternative<link::StartEpoch>(change);
  }
  auto applied = send(number, std::move(prepared));
  if (!applied) return applied;
  for (const link::Change& change : changes) ApplyTo(specs_[number], change);
  return applied;
}

// What it does, and which packets that is for, change at the same instant.
Result<TimeNs> Engine::apply(size_t number, RuleBook::Edit edit) {
  PipeChange prepared;
  if (edit.added) {
    const link::SetFault set{edit.added->number, edit.added->rule.fault};
    if (auto built = prepare(*pipes_[number], set, prepared); !built) {
      return tl::unexpected(built.error());
    }
  }
  prepared.rules = edit.placed;
  auto applied = send(number, std::move(prepared));
  if (!applied) return applied;
  const TimeNs at = *applied - started_;
  rule_books_[number].commit(edit, at);
  return at;
}

Result<TimeNs> Engine::send(size_t number, PipeChange change) {
  if (phase_.load() != Phase::kRun) {
    return Fail(ErrorCode::kConflict, "the emulator is not running");
  }
  Pipe& pipe = *pipes_[number];
  auto command = std::make_unique<LcoreCommand>();
  command->pipe = &pipe;
  command->change = std::move(change);
  if (!loop_of_site(pipe.setup().to).send(command.get())) {
    return Fail(ErrorCode::kConflict, "too many changes wait for the engine; try again");
  }
  const auto give_up =
      std::chrono::steady_clock::now() + std::chrono::nanoseconds(kAnswerAtMost.ns);
  while (command->applied_ns.load(std::memory_order_acquire) < 0) {
    if (std::chrono::steady_clock::now() >= give_up) {
      abandoned_.push_back(std::move(command));  // the lcore may still come to it
      return Fail(ErrorCode::kIo, "the engine did not answer: its core has no time");
    }
    std::this_thread::sleep_for(std::chrono::microseconds(50));
  }
  return TimeNs{command->applied_ns.load()};
}

}  // namespace farspan::dpdk
