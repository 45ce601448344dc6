#include "transports/drivers/verbs/address_handles.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <utility>

#include "transports/drivers/monotonic.h"

namespace farspan::verbs {
namespace {

constexpr ptrdiff_t kAskedMost = 16;  // at a time: strangers must not push out who is known

}  // namespace

AddressHandles::AddressHandles(Make make, Release release, size_t most)
    : make_(std::move(make)),
      release_(std::move(release)),
      most_(most),
      worker_([this] { work(); }) {
  entries_.reserve(most);
}

AddressHandles::~AddressHandles() {
  {
    const std::lock_guard lock(mutex_);
    end_ = true;
  }
  asked_.notify_one();
  worker_.join();
  take_answers();
  for (const Entry& entry : entries_) release(entry);
}

void AddressHandles::release(const Entry& entry) {
  for (ibv_ah* handle : entry.handles) {
    if (handle != nullptr) release_(handle);
  }
}

void AddressHandles::work() {
  std::unique_lock lock(mutex_);
  while (true) {
    asked_.wait(lock, [this] { return end_ || !questions_.empty(); });
    if (end_) return;
    Entry entry;
    entry.to = questions_.front();
    questions_.pop_front();
    lock.unlock();
    for (const bool ecn_capable : {false, true}) {
      entry.handles[ecn_capable] = make_(entry.to, ecn_capable);
      if (entry.handles[ecn_capable] == nullptr) entry.error = errno;
    }
    lock.lock();
    answers_.push_back(entry);
    any_answer_ = true;
    answered_.notify_all();
  }
}

void AddressHandles::take_answers() {
  if (!any_answer_) return;
  const std::lock_guard lock(mutex_);
  any_answer_ = false;
  for (const Entry& answer : answers_) {
    Entry& entry = *entry_of(answer.to);  // what is asked is not forgotten
    const bool made = answer.handles[0] != nullptr && answer.handles[1] != nullptr;
    entry.handles = answer.handles;
    entry.state = made ? State::kMade : State::kNoWay;
    entry.error = answer.error;
    entry.told_at = MonotonicNow();
  }
  answers_.clear();
}

AddressHandles::Entry* AddressHandles::entry_of(const Gid& to) {
  const auto found = std::find_if(entries_.begin(), entries_.end(),
                                  [&](const Entry& entry) { return entry.to == to; });
  return found == entries_.end() ? nullptr : &*found;
}

void AddressHandles::prepare(const Gid& to, TimeNs at_most) {
  find(to, false, 0, 0);
  const Entry* entry = entry_of(to);
  if (entry == nullptr || entry->state != State::kAsked) return;
  std::unique_lock lock(mutex_);
  answered_.wait_for(lock, std::chrono::nanoseconds(at_most.ns), [&] {
    return std::any_of(answers_.begin(), answers_.end(),
                       [&](const Entry& answer) { return answer.to == to; });
  });
}

AddressHandles::Found AddressHandles::find(const Gid& to, bool ecn_capable, uint64_t use,
                                           uint64_t done) {
  take_answers();
  Entry* entry = entry_of(to);
  if (entry != nullptr && entry->state == State::kNoWay &&
      MonotonicNow() - entry->told_at >= kAskAgain) {
    release(*entry);
    *entry = entries_.back();
    entries_.pop_back();
    entry = nullptr;
  }
  if (entry == nullptr) return {ask(to, done)};
  if (entry->state == State::kAsked) return {Outcome::kAsked};
  if (entry->state == State::kNoWay) return {Outcome::kNoWay, nullptr, entry->error};
  entry->last_use = std::max(entry->last_use, use);
  return {Outcome::kFound, entry->handles[ecn_capable]};
}

AddressHandles::Outcome AddressHandles::ask(const Gid& to, uint64_t done) {
  const auto is_asked = [](const Entry& entry) { return entry.state == State::kAsked; };
  if (std::count_if(entries_.begin(), entries_.end(), is_asked) >=
      std::min(kAskedMost, static_cast<ptrdiff_t>(most_))) {
    return Outcome::kAsked;
  }
  if (entries_.size() == most_) {
    const auto oldest =
        std::min_element(entries_.begin(), entries_.end(), [&](const Entry& a, const Entry& b) {
          return std::pair(is_asked(a), a.last_use) < std::pair(is_asked(b), b.last_use);
        });
    if (oldest->last_use > done) return Outcome::kAllBusy;
    release(*oldest);
    *oldest = entries_.back();
    entries_.pop_back();
  }
  entries_.emplace_back().to = to;
  {
    const std::lock_guard lock(mutex_);
    questions_.push_back(to);
  }
  asked_.notify_one();
  return Outcome::kAsked;
}

}  // namespace farspan::verbs
