#include "transports/testbed/net_group.h"

#include <fmt/format.h>

#include <cstring>
#include <optional>

namespace farspan::testbed {
namespace {

using collectives::Lane;
using transport::CommState;

constexpr TimeNs kDrain{2'000'000'000};  // that the end waits for peers at most

// One listener of this rank, told to the rank that will connect to it.
struct Offer {
  uint32_t peer;
  uint32_t channel;
  transport::Handle handle;
};

std::string Pack(const std::vector<Offer>& offers) {
  return {reinterpret_cast<const char*>(offers.data()), offers.size() * sizeof(Offer)};
}

std::vector<Offer> Unpack(const std::string& bytes) {
  std::vector<Offer> offers(bytes.size() / sizeof(Offer));
  std::memcpy(offers.data(), bytes.data(), offers.size() * sizeof(Offer));
  return offers;
}

}  // namespace

NetGroup::NetGroup(std::unique_ptr<Bootstrap> bootstrap,
                   std::unique_ptr<transport::Transport> transport, TimeNs timeout)
    : bootstrap_(std::move(bootstrap)),
      transport_(std::move(transport)),
      rank_(bootstrap_->rank()),
      timeout_(timeout) {}

// A peer that still wants to hear that its last message has arrived gets to hear it; where a run
// was given up there is nothing to wait for, and its plan is gone.
NetGroup::~NetGroup() {
  if (executor_ != nullptr && executor_->finished() && executor_->failure().empty()) (void)settle();
  executor_.reset();
  for (const transport::CommId comm : comms_) transport_->close(comm);
  transport_->drain(transport_->now() + kDrain);
}

// Peers may still wait for this rank's last messages and acknowledgements.
std::function<void()> NetGroup::meanwhile() {
  return [this] {
    transport_->progress(transport_->now() + TimeNs{1'000'000});
    if (executor_ != nullptr) executor_->progress();
  };
}

Result<void> NetGroup::meet() { return bootstrap_->barrier(meanwhile()); }

Result<void> NetGroup::settle() {
  const TimeNs end = transport_->now() + timeout_;
  while (!executor_->drained() && executor_->progress() && transport_->now() < end) {
    transport_->progress(transport_->now() + TimeNs{10'000'000});
  }
  if (!executor_->failure().empty()) return Fail(ErrorCode::kIo, executor_->failure());
  if (!executor_->drained()) {
    return Fail(ErrorCode::kIo,
                fmt::format("what was sent has not arrived for {:.0f} s", ToSeconds(timeout_)));
  }
  return meet();
}

Result<void> NetGroup::connect(std::span<const collectives::Plan> plans,
                               const collectives::SlotConfig& slots,
                               collectives::Reducer* reducer) {
  if (auto able = CheckSlots(transport_->properties(), slots); !able) return able;
  const collectives::Plan& plan = plans[0];
  executor_ = std::make_unique<collectives::Executor>(*transport_, slots, reducer);
  std::vector<Offer> offers;
  std::vector<transport::ListenId> listeners;
  for (const Lane& lane : plan.receives) {
    Offer offer{lane.peer, lane.channel, {}};
    auto listener = transport_->listen(offer.handle);
    if (!listener) return tl::unexpected(listener.error());
    listeners.push_back(*listener);
    offers.push_back(offer);
  }
  auto all = bootstrap_->all_gather(Pack(offers), meanwhile());
  if (!all) return tl::unexpected(all.error());

  std::vector<transport::CommId> sends;
  for (const Lane& lane : plan.sends) {
    std::optional<Offer> mine;
    for (const Offer& offer : Unpack((*all)[lane.peer])) {
      if (offer.peer == rank_ && offer.channel == lane.channel) mine = offer;
    }
    if (!mine) {
      return Fail(ErrorCode::kIo, fmt::format("rank {} does not expect messages of rank {}: do all "
                                              "ranks run the same collective?",
                                              lane.peer, rank_));
    }
    auto comm = transport_->connect(mine->handle);
    if (!comm) return tl::unexpected(comm.error());
    comms_.push_back(*comm);
    sends.push_back(*comm);
    executor_->add_send_lane(lane, *comm);
  }
  if (auto ready = await_lanes(plan, listeners, sends); !ready) return ready;
  return meet();
}

Result<void> NetGroup::await_lanes(const collectives::Plan& plan,
                                   std::span<const transport::ListenId> listeners,
                                   std::span<const transport::CommId> sends) {
  const auto cannot_connect = [&](size_t i) {
    return Fail(ErrorCode::kIo, fmt::format("connecting to rank {}: {}", plan.sends[i].peer,
                                            transport_->failure(sends[i])));
  };
  const TimeNs end = transport_->now() + timeout_;
  for (size_t lane = 0; lane < plan.receives.size();) {
    if (const auto comm = transport_->accept(listeners[lane])) {
      comms_.push_back(*comm);
      executor_->add_receive_lane(plan.receives[lane], *comm);
      transport_->stop_listening(listeners[lane++]);
      continue;
    }
    for (size_t i = 0; i < sends.size(); ++i) {  // it tells more than the other's silence
      if (transport_->state(sends[i]) == CommState::kFailed) return cannot_connect(i);
    }
    if (transport_->now() > end) {
      return Fail(ErrorCode::kIo, fmt::format("rank {} has not connected for {:.0f} s",
                                              plan.receives[lane].peer, ToSeconds(timeout_)));
    }
    transport_->progress(transport_->now() + TimeNs{10'000'000});
  }
  for (size_t i = 0; i < sends.size();) {
    if (transport_->state(sends[i]) == CommState::kReady) {
      ++i;
      continue;
    }
    if (transport_->state(sends[i]) == CommState::kFailed || transport_->now() > end) {
      return cannot_connect(i);
    }
    transport_->progress(transport_->now() + TimeNs{10'000'000});
  }
  return {};
}

Result<void> NetGroup::run(std::span<RankRun> runs) {
  if (auto met = meet(); !met) return met;
  return drive(runs[0]);
}

Result<void> NetGroup::run_at(TimeNs start, std::span<RankRun> runs) {
  while (transport_->now() < start) transport_->progress(start);
  return drive(runs[0]);
}

Result<void> NetGroup::drive(RankRun& run) {
  size_t seen = 0;
  TimeNs last = transport_->now();
  while (true) {
    if (!run.progress()) return Fail(ErrorCode::kIo, run.executor().failure());
    if (run.finished()) return {};
    const TimeNs now = transport_->now();
    if (run.ends().size() > seen) {
      seen = run.ends().size();
      last = now;
    }
    if (now - last > timeout_) {
      return Fail(ErrorCode::kIo,
                  fmt::format("no iteration was completed for {:.0f} s", ToSeconds(timeout_)));
    }
    transport_->progress(now + TimeNs{100'000'000});
  }
}

Result<std::vector<double>> NetGroup::gather(std::span<const double> mine) {
  const auto all = bootstrap_->all_gather(
      {reinterpret_cast<const char*>(mine.data()), mine.size_bytes()}, meanwhile());
  if (!all) return tl::unexpected(all.error());
  std::vector<double> values(all->size());
  for (size_t rank = 0; rank < values.size(); ++rank) {
    const std::string& one = (*all)[rank];
    if (one.size() != sizeof(double)) return Fail(ErrorCode::kIo, "the ranks do different things");
    std::memcpy(&values[rank], one.data(), sizeof(double));
  }
  return values;
}

}  // namespace farspan::testbed
