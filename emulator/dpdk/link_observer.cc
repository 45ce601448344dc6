#include "emulator/dpdk/link_observer.h"

#include <algorithm>
#include <chrono>
#include <thread>
#include <variant>

#include "emulator/link/path.h"

namespace farspan::dpdk {
namespace {

constexpr std::chrono::seconds kAnswerAtMost{2};

TimeNs LeastDelay(const link::DirectionSpec& spec) {
  TimeNs least = kNever;
  for (const link::LaneSpec& lane : spec.lanes) {
    least = std::min(least, link::OneWayDelay(lane.path));
  }
  for (const link::TimelineEvent& event : spec.timeline) {
    if (const auto* set = std::get_if<link::SetPath>(&event.change)) {
      least = std::min(least, link::OneWayDelay(set->path));
    } else if (const auto* protect = std::get_if<link::ProtectionSwitch>(&event.change)) {
      least = std::min(least, link::OneWayDelay(protect->path));
    }
  }
  return least;
}

}  // namespace

TimeNs LeastRoundTrip(const link::DirectionSpec& ab, const link::DirectionSpec& ba) {
  return LeastDelay(ab) + LeastDelay(ba);
}

LinkObserver::LinkObserver(const roce::ObserverSpec& spec, TimeNs round_trip)
    : observer_(spec, round_trip), round_trip_ns_(round_trip.ns) {}

void LinkObserver::set_round_trip(TimeNs round_trip) {
  if (round_trip_ns_.exchange(round_trip.ns, std::memory_order_relaxed) == round_trip.ns) return;
  (void)read();  // serving it, the lcore takes the new one over
}

bool LinkObserver::serve_some() {
  observer_.set_round_trip(TimeNs{round_trip_ns_.load(std::memory_order_relaxed)});
  const uint32_t end = std::min(copied_ + kEntriesAtATime, observer_.live());
  for (; copied_ < end; ++copied_) copy_[copied_] = observer_.snapshot(copied_);
  if (copied_ < observer_.live()) return true;
  wanted_.store(false, std::memory_order_release);
  return false;
}

Result<std::vector<roce::QpSnapshot>> LinkObserver::read() {
  const std::lock_guard lock(reading_);
  const auto give_up = std::chrono::steady_clock::now() + kAnswerAtMost;
  const auto served = [&] {
    while (wanted_.load(std::memory_order_acquire)) {
      if (std::chrono::steady_clock::now() >= give_up) return false;
      std::this_thread::sleep_for(std::chrono::microseconds(50));
    }
    return true;
  };
  // One that was given up is finished first, and thrown away: it is of another time.
  if (served()) {
    copy_.resize(observer_.capacity());
    copied_ = 0;
    wanted_.store(true, std::memory_order_release);
    if (served()) return std::vector(copy_.begin(), copy_.begin() + copied_);
  }
  return Fail(ErrorCode::kIo, "the engine did not answer: its core has no time");
}

std::vector<roce::QpSnapshot> LinkObserver::read_at_rest() const {
  std::vector<roce::QpSnapshot> out;
  for (uint32_t entry = 0; entry < observer_.live(); ++entry) {
    out.push_back(observer_.snapshot(entry));
  }
  return out;
}

}  // namespace farspan::dpdk
