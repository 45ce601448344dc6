// The observer against a model that remembers every packet: a requester and a responder over a link
// that drops, corrupts and duplicates, with go-back-N or selective repeat, timers that are too
// short or not, either way of reporting drops, and PSNs that wrap. What the observer counts with
// little memory must be what the model counts with all of it.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <deque>
#include <map>
#include <set>
#include <string>
#include <utility>

#include "emulator/base/random.h"
#include "emulator/roce/qp_observer.h"

namespace farspan::roce {
namespace {

using Number = int64_t;  // of a packet among its queue pair's, without wrapping

constexpr uint32_t kForwardQp = 0x22;
constexpr uint32_t kBackQp = 0x11;
constexpr uint32_t kMtu = 1024;

struct Story {
  uint64_t seed = 1;
  bool go_back_n = true;
  bool early_reports = false;  // drops are reported at once, not when the packet would have left
  uint32_t first_psn = 0;
  Number packets = 300;
  Number message = 4;  // packets
  Number window = 64;  // packets
  double loss = 0.02;
  double corruption = 0.005;
  double duplication = 0.005;
  int64_t spacing_ns = 20'000;
  int64_t delay_ns = 1'000'000;    // one way
  int64_t timeout_ns = 3'000'000;  // less than twice the delay: a timer that is too short
};

// Everything that happened to one direction's requests, kept for ever.
struct Model {
  uint64_t packets = 0;
  uint64_t retransmissions = 0;
  uint64_t spurious = 0;
  uint64_t goodput = 0;
  uint64_t messages = 0;
  uint64_t delivered = 0;
  uint64_t duplicates = 0;
  uint64_t gaps = 0;
  uint64_t missing = 0;
  uint64_t dropped = 0;
  uint64_t corrupted = 0;
  uint64_t recoveries = 0;
  std::map<Number, TimeNs> last_sent;
  std::set<Number> lost;  // and neither sent again nor delivered since
  std::set<Number> have;
  Number highest_delivered = -1;
  Number run_next = -1;
  bool run_spurious = false;

  void send(Number n, TimeNs now, TimeNs round_trip) {
    ++packets;
    const auto before = last_sent.find(n);
    if (before == last_sent.end()) {
      run_next = -1;
    } else {
      ++retransmissions;
      if (n != run_next) run_spurious = now - before->second < round_trip;
      spurious += run_spurious;
      run_next = n + 1;
    }
    last_sent[n] = now;
    recoveries += lost.erase(n);
  }

  // As the link reports it; `sent` is when the packet that was lost was sent.
  void lose(Number n, TimeNs sent, bool drop) {
    ++(drop ? dropped : corrupted);
    if (last_sent[n] > sent) {
      ++recoveries;
    } else {
      lost.insert(n);
    }
  }

  void deliver(Number n, uint32_t bytes, bool last) {
    ++delivered;
    lost.erase(n);
    if (!have.insert(n).second) {
      ++duplicates;
      return;
    }
    goodput += bytes;
    messages += last;
    if (n > highest_delivered) {
      gaps += n != highest_delivered + 1;
      missing += static_cast<uint64_t>(n - highest_delivered - 1);
      highest_delivered = n;
    }
  }

  Number expected() const {
    Number n = 0;
    while (have.count(n) != 0) ++n;
    return n;
  }
};

// The event loop: one sender, one receiver, and the link with its taps between them.
class Play {
 public:
  // `told_round_trip`: what the observer takes it for.
  Play(const Story& story, TimeNs told_round_trip)
      : story_(story), observer_({.queue_pairs = 64}, told_round_trip) {}

  void run() {
    // With a timer that is too short for its spacing, a sender may never get to the end.
    for (int step = 0; step < 30'000 && !finished(); ++step) {
      send_some();
      now_ += TimeNs{story_.spacing_ns};
      deliver_due();
      receive_acks();
    }
    now_ += TimeNs{10 * story_.delay_ns};
    deliver_due();
    now_ += TimeNs{10 * story_.delay_ns};
    receive_acks();
  }

  bool finished() const { return acked_ == story_.packets; }
  Number sent() const { return next_; }
  const Model& model() const { return model_; }
  QpSnapshot seen() const {
    for (uint32_t entry = 0; entry < observer_.live(); ++entry) {
      const QpSnapshot qp = observer_.snapshot(entry);
      if (qp.direction == 0) return qp;
    }
    return {};
  }
  ObserverTotals totals() const { return observer_.totals(0); }
  uint32_t psn(Number n) const {
    return PsnAdd(story_.first_psn, static_cast<uint32_t>(n) & kPsnMask);
  }
  uint64_t wrong_notes() const { return wrong_notes_; }

 private:
  struct Flight {
    Passage passage{};
    Number n = 0;
    TimeNs sent{};
    TimeNs at{};
    bool corrupted = false;
    bool dropped = false;
  };

  bool chance(double p) {
    return ToUnit(Draw({story_.seed}, RandomPurpose::kTest, draws_++).lo) < p;
  }

  bool ends_message(Number n) const { return n % story_.message == story_.message - 1; }
  uint32_t bytes(Number n) const { return ends_message(n) ? 100 : kMtu; }

  std::pair<FrameView, RoceView> request(Number n) const {
    FrameView frame;
    frame.ip_version = 4;
    frame.src = {10, 0, 0, 1};
    frame.dst = {10, 0, 0, 2};
    frame.src_port = 50'000;
    frame.frame_bytes = bytes(n) + 62;
    RoceView roce;
    roce.fault = RoceFault::kNone;
    roce.opcode_class = OpcodeClass::kSend;
    const bool starts = n % story_.message == 0;
    const bool ends = ends_message(n);
    roce.position = starts ? (ends ? Position::kOnly : Position::kFirst)
                           : (ends ? Position::kLast : Position::kMiddle);
    roce.ack_request = ends;
    roce.payload_bytes = static_cast<uint16_t>(bytes(n));
    roce.dest_qp = kForwardQp;
    roce.psn = psn(n);
    return {frame, roce};
  }

  void send(Number n) {
    const auto [frame, roce] = request(n);
    const bool again = model_.last_sent.count(n) != 0;
    model_.send(n, now_, TimeNs{2 * story_.delay_ns});
    Flight flight{.n = n, .sent = now_, .at = now_ + TimeNs{story_.delay_ns}};
    const QpNote note = observer_.ingress(0, now_, {}, frame, roce, flight.passage);
    wrong_notes_ += note.retransmission != again;
    const uint64_t message = static_cast<uint64_t>(n / story_.message) + 1;
    const bool numbered = note.message != 0 || !again;
    wrong_notes_ += numbered && (note.message != message || note.index != n % story_.message);
    flight.dropped = chance(story_.loss);
    flight.corrupted = !flight.dropped && chance(story_.corruption);
    const bool lost = flight.dropped || flight.corrupted;
    if (flight.dropped && story_.early_reports) {
      leave(flight);
    } else {
      flights_.push_back(flight);
      if (!lost && chance(story_.duplication)) flights_.push_back(flight);
    }
  }

  void send_some() {
    if (now_ - progress_ >= TimeNs{story_.timeout_ns} && acked_ < next_) {
      resend_ = acked_;
      resend_end_ = story_.go_back_n ? next_ : acked_ + 1;
      progress_ = now_;
    }
    if (resend_ < resend_end_) {
      send(resend_++);
    } else if (!repeats_.empty()) {
      send(repeats_.front());
      repeats_.pop_front();
    } else if (next_ < story_.packets && next_ < acked_ + story_.window) {
      send(next_++);
    }
  }

  void leave(const Flight& flight) {
    observer_.egress(
        0, flight.passage,
        {.entered = flight.sent, .dropped = flight.dropped, .corrupted = flight.corrupted});
    if (flight.dropped || flight.corrupted) {
      model_.lose(flight.n, flight.sent, flight.dropped);
    } else {
      model_.deliver(flight.n, bytes(flight.n), ends_message(flight.n));
    }
  }

  void deliver_due() {
    while (!flights_.empty() && flights_.front().at <= now_) {
      const Flight flight = flights_.front();
      flights_.pop_front();
      leave(flight);
      if (flight.dropped || flight.corrupted) continue;
      receive(flight.n);
    }
  }

  void receive(Number n) {
    const bool taken = n == receiver_next_ || !story_.go_back_n;
    if (taken) received_.insert(n);
    while (received_.count(receiver_next_) != 0) ++receiver_next_;
    const bool gap = n > receiver_next_;
    if (gap && nak_at_ != receiver_next_) {
      nak_at_ = receiver_next_;
      answer(receiver_next_, true);
    } else if (!gap && (ends_message(n) || n < receiver_next_ - 1)) {
      answer(receiver_next_ - 1, false);
    }
  }

  void answer(Number n, bool nak) {
    FrameView frame;
    frame.ip_version = 4;
    frame.src = {10, 0, 0, 2};
    frame.dst = {10, 0, 0, 1};
    frame.frame_bytes = 62;
    RoceView roce;
    roce.fault = RoceFault::kNone;
    roce.opcode_class = OpcodeClass::kAck;
    roce.ack = nak ? AckKind::kPsnSequenceError : AckKind::kAck;
    roce.dest_qp = kBackQp;
    roce.psn = psn(n);
    Passage passage;
    observer_.ingress(1, now_, {}, frame, roce, passage);
    observer_.egress(1, passage, {.entered = now_, .dropped = chance(story_.loss)});
    acks_.push_back({n, now_ + TimeNs{story_.delay_ns}, nak});
  }

  void receive_acks() {
    while (!acks_.empty() && acks_.front().at <= now_) {
      const Ack ack = acks_.front();
      acks_.pop_front();
      const Number up_to = ack.nak ? ack.n : ack.n + 1;
      if (up_to > acked_) {
        acked_ = up_to;
        progress_ = now_;
      }
      if (!ack.nak || ack.n >= next_) continue;
      if (story_.go_back_n) {
        resend_ = ack.n;
        resend_end_ = next_;
      } else {
        repeats_.push_back(ack.n);
      }
    }
  }

  struct Ack {
    Number n = 0;
    TimeNs at{};
    bool nak = false;
  };

  const Story story_;
  QpObserver observer_;
  Model model_;
  TimeNs now_{1};
  uint64_t draws_ = 0;
  uint64_t wrong_notes_ = 0;
  std::deque<Flight> flights_;
  std::deque<Ack> acks_;
  std::deque<Number> repeats_;
  std::set<Number> received_;
  Number next_ = 0;
  Number acked_ = 0;
  Number resend_ = 0;
  Number resend_end_ = 0;
  Number receiver_next_ = 0;
  Number nak_at_ = -1;
  TimeNs progress_{};
};

// What differs, in words; empty where all agrees.
std::string Differences(const Story& story, TimeNs told_round_trip) {
  Play play(story, told_round_trip);
  play.run();
  const Model& model = play.model();
  const QpSnapshot qp = play.seen();
  const QpCounters& seen = qp.counters;
  std::string text;
  const auto compare = [&](const char* what, uint64_t is, uint64_t should) {
    if (is == should) return;
    text += std::string(what) + " " + std::to_string(is) + ", not " + std::to_string(should) + "; ";
  };
  compare("packets", seen.ingress.packets, model.packets);
  compare("retransmissions", seen.ingress.repeated, model.retransmissions);
  compare("gaps at ingress", seen.ingress.gaps, 0);
  compare("delivered", seen.egress.packets, model.delivered);
  compare("duplicates", seen.egress.repeated, model.duplicates);
  compare("goodput", seen.egress.goodput_bytes, model.goodput);
  compare("messages", seen.egress.messages, model.messages);
  compare("gaps", seen.egress.gaps, model.gaps);
  compare("missing", seen.egress.missing, model.missing);
  compare("dropped", seen.dropped, model.dropped);
  compare("corrupted", seen.corrupted, model.corrupted);
  compare("expected PSN", qp.expected_psn, play.psn(model.expected()));
  compare("next PSN", qp.next_psn, play.psn(play.sent()));
  compare("restarts", seen.restarts, 0);
  compare("forgotten", play.totals().forgotten_losses, 0);
  compare("wrong notes", play.wrong_notes(), 0);
  compare("recoveries", seen.recovery.count, model.recoveries);
  if (model.spurious < seen.spurious || model.spurious > seen.spurious + seen.undecided) {
    compare("spurious", seen.spurious, model.spurious);
  }
  const ObserverTotals& totals = play.totals();
  compare("total packets", totals.sum.ingress.packets, model.packets);
  compare("total goodput", totals.sum.egress.goodput_bytes, model.goodput);
  compare("total recoveries", totals.sum.recovery.count, seen.recovery.count);
  // With losses, few answers may carry the PSN of a request that asked for one.
  if (story.loss == 0 && play.finished() && qp.src_qp != kBackQp) text += "not matched; ";
  return text;
}

Story AnyStory() {
  Story story;
  story.seed = *rc::gen::arbitrary<uint64_t>();
  story.go_back_n = *rc::gen::arbitrary<bool>();
  story.early_reports = *rc::gen::arbitrary<bool>();
  story.first_psn = *rc::gen::element<uint32_t>(0, 0xffff80, 0x7fff00, 0x123456);
  story.packets = *rc::gen::inRange<Number>(100, 600);
  story.message = *rc::gen::element<Number>(1, 2, 5, 16);
  story.window = *rc::gen::inRange<Number>(17, 120);
  story.loss = *rc::gen::element(0.0, 0.003, 0.02, 0.1);
  story.spacing_ns = *rc::gen::element<int64_t>(1'000, 7'000, 20'000, 130'000);
  story.timeout_ns = *rc::gen::element<int64_t>(900'000, 1'700'000, 2'100'000, 8'000'000);
  story.packets -= story.packets % story.message;
  return story;
}

RC_GTEST_PROP(QpObserverProperty, CountsWhatAPerfectMemoryCounts, ()) {
  const Story story = AnyStory();
  const std::string differences = Differences(story, TimeNs{2 * story.delay_ns});
  RC_LOG() << differences;
  RC_ASSERT(differences.empty());
}

// The twins: told a wrong round trip, it judges wrongly.
TEST(QpObserverProperty, AWrongRoundTripIsNoticed) {
  Story story;
  story.timeout_ns = 1'500'000;
  EXPECT_EQ(Differences(story, TimeNs{2 * story.delay_ns}), "");
  EXPECT_NE(Differences(story, TimeNs{story.delay_ns / 10}), "");
  story.timeout_ns = 8'000'000;
  EXPECT_EQ(Differences(story, TimeNs{2 * story.delay_ns}), "");
  EXPECT_NE(Differences(story, TimeNs{20 * story.delay_ns}), "");
}

}  // namespace
}  // namespace farspan::roce
