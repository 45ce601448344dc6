#include "transports/testbed/conform.h"

#include <algorithm>
#include <cstring>
#include <deque>
#include <optional>
#include <type_traits>

#include "emulator/base/random.h"

namespace farspan::testbed {
namespace {

using transport::CommId;
using transport::CommState;
using transport::Completion;
using transport::ListenId;
using transport::Progress;
using transport::RequestId;
using transport::Transport;

constexpr TimeNs kQuiet{20'000'000};  // in which nothing must happen

// What a case finds wrong ends it.
struct Failure {
  std::string text;
};

void Require(bool condition, const std::string& text) {
  if (!condition) throw Failure{text};
}

std::vector<uint8_t> Pattern(uint64_t bytes, uint64_t seed) {
  std::vector<uint8_t> data(bytes);
  for (uint64_t at = 0; at < bytes; at += 8) {
    const uint64_t word = Draw({seed}, RandomPurpose::kTest, at).lo;
    std::memcpy(data.data() + at, &word, std::min<uint64_t>(8, bytes - at));
  }
  return data;
}

// One comm from `sender` to `receiver`.
struct Link {
  Transport* sender;
  Transport* receiver;
  CommId send;
  CommId receive;
};

class Cases {
 public:
  Cases(const ConformanceEnds& ends, std::deque<std::vector<uint8_t>>& buffers)
      : ends_(ends), buffers_(buffers) {}

  void connects_both_ways() {
    const Link forward = connect(*ends_.a, *ends_.b);
    const Link back = connect(*ends_.b, *ends_.a);
    close(forward);
    close(back);
  }

  void delivers_every_size() {
    const Link link = connect(*ends_.a, *ends_.b);
    for (const uint64_t bytes :
         {0, 1, 7, 63, 64, 1000, 4095, 4096, 4097, 65'536, 65'537, 1'000'003, 5'000'000}) {
      transfer(link, bytes, bytes, 3);
    }
    close(link);
  }

  void longer_receives_tell_the_length() {
    const Link link = connect(*ends_.a, *ends_.b);
    transfer(link, 1000, 1'000'000, 0);
    transfer(link, 0, 8, 0);
    close(link);
  }

  void matches_in_posting_order() {
    const Link link = connect(*ends_.a, *ends_.b);
    constexpr int kMessages = 200;
    const uint32_t most =
        std::min(ends_.a->properties().max_requests, ends_.b->properties().max_requests);
    Require(most >= 8, "max_requests is " + std::to_string(most) + ": expected at least 8");
    const auto bytes_of = [](int i) { return static_cast<uint64_t>(i * 7919 % 20'000); };
    std::vector<std::vector<uint8_t>*> out, in;
    for (int i = 0; i < kMessages; ++i) {
      out.push_back(&keep(Pattern(bytes_of(i), static_cast<uint64_t>(i))));
      in.push_back(&keep(std::vector<uint8_t>(20'000, 0xee)));
    }
    std::deque<std::pair<int, RequestId>> sending, receiving;
    int posted_sends = 0, posted_receives = 0, received = 0, sent = 0;
    wait("200 messages", [&] {
      while (posted_sends < kMessages) {
        const auto request = link.sender->post_send(
            link.send, {out[posted_sends]->data(), out[posted_sends]->size(), 0}, 0);
        if (!request) break;
        sending.emplace_back(posted_sends++, *request);
      }
      while (posted_receives < kMessages) {
        const auto request =
            link.receiver->post_recv(link.receive, {in[posted_receives]->data(), 20'000, 0}, 0);
        if (!request) break;
        receiving.emplace_back(posted_receives++, *request);
      }
      while (!receiving.empty()) {
        const auto [i, request] = receiving.front();
        const Completion done = link.receiver->test(request);
        if (done.progress == Progress::kPending) break;
        Require(done.progress == Progress::kDone, "a receive failed");
        Require(done.bytes == bytes_of(i), "message " + std::to_string(i) + " has another length");
        Require(std::equal(out[i]->begin(), out[i]->end(), in[i]->begin()),
                "message " + std::to_string(i) + " has other bytes");
        Require(std::all_of(in[i]->begin() + static_cast<long>(out[i]->size()), in[i]->end(),
                            [](uint8_t b) { return b == 0xee; }),
                "bytes after the end of message " + std::to_string(i) + " were written");
        receiving.pop_front();
        ++received;
      }
      while (!sending.empty()) {
        const Completion done = link.sender->test(sending.front().second);
        if (done.progress == Progress::kPending) break;
        Require(done.progress == Progress::kDone, "a send failed");
        sending.pop_front();
        ++sent;
      }
      return received == kMessages && sent == kMessages;
    });
    close(link);
  }

  // Sent once: the receive after it must stay empty.
  void delivers_nothing_twice() {
    const Link link = connect(*ends_.a, *ends_.b);
    transfer(link, 3000, 3000, 0);
    std::vector<uint8_t>& data = keep(std::vector<uint8_t>(3000));
    const RequestId request = post_receive(link, data, 0);
    const TimeNs end = ends_.a->now() + kQuiet;
    while (ends_.a->now() < end) {
      require_good(*link.receiver, link.receive);
      Require(link.receiver->test(request).progress == Progress::kPending,
              "a receive ended that nobody sent to");
      ends_.pump();
    }
    close(link);
  }

  void moves_both_directions_at_once() {
    const Link forward = connect(*ends_.a, *ends_.b);
    const Link back = connect(*ends_.b, *ends_.a);
    Moving there = moving(forward, 3'000'000, 3'000'000, 1);
    Moving here = moving(back, 3'000'000, 3'000'000, 2);
    wait("two messages that cross", [&] {
      const bool there_done = there.step(), here_done = here.step();
      return there_done && here_done;
    });
    close(forward);
    close(back);
  }

  void a_listener_serves_many() {
    transport::Handle handle;
    const ListenId listener = listen(*ends_.b, handle);
    for (int i = 0; i < 3; ++i) {
      const Link link = connect_to(*ends_.a, *ends_.b, listener, handle);
      transfer(link, 10'000, 10'000, 0);
      close(link);
    }
    ends_.b->stop_listening(listener);
  }

  void what_is_sent_survives_a_close() {
    const Link link = connect(*ends_.a, *ends_.b);
    std::vector<uint8_t>& out = keep(Pattern(50'000, 1));
    std::vector<uint8_t>& in = keep(std::vector<uint8_t>(out.size()));
    const RequestId receive = post_receive(link, in, 0);
    const RequestId send = post_send(link, out, 0);
    wait("a send", [&] {
      const Completion done = link.sender->test(send);
      Require(done.progress != Progress::kFailed, "a send failed");
      return done.progress == Progress::kDone;
    });
    link.sender->close(link.send);
    wait("the message of a sender that has closed", [&] {
      const Completion done = link.receiver->test(receive);
      Require(done.progress != Progress::kFailed, "the sender was told that it is done");
      return done.progress == Progress::kDone;
    });
    Require(in == out, "it arrived with other bytes");
    link.receiver->close(link.receive);
  }

  void a_closed_peer_is_an_error() {
    const Link link = connect(*ends_.a, *ends_.b);
    std::vector<uint8_t>& data = keep(std::vector<uint8_t>(1000));
    const RequestId request = post_receive(link, data, 0);
    link.sender->close(link.send);
    wait("the receiver to learn that its peer has closed", [&] {
      const Completion done = link.receiver->test(request);
      Require(done.progress != Progress::kDone, "a receive is done that nobody sent to");
      return done.progress == Progress::kFailed;
    });
    Require(!link.receiver->failure(link.receive).empty(), "failure() says nothing");
    link.receiver->close(link.receive);
  }

  void a_message_too_long_is_an_error() { refuses(100, 0, "1000 bytes fitted into 100"); }
  void a_wrong_tag_is_an_error() { refuses(1000, 1, "tag 0 filled a receive of tag 1"); }

  void a_foreign_handle_is_refused() {
    transport::Handle handle{};
    handle.fill(0xff);
    Require(!ends_.a->connect(handle), "a handle of 0xff bytes was accepted");
  }

 private:
  // One message under way.
  class Moving {
   public:
    Moving(const Link& link, std::vector<uint8_t>& out, std::vector<uint8_t>& in, uint32_t tag)
        : link_(link), out_(out), in_(in), tag_(tag) {}

    bool step() {
      require_good(*link_.sender, link_.send);
      require_good(*link_.receiver, link_.receive);
      if (!receive_) receive_ = link_.receiver->post_recv(link_.receive, buffer(in_), tag_);
      if (!send_) send_ = link_.sender->post_send(link_.send, buffer(out_), tag_);
      if (receive_ && !received_) {
        const Completion done = link_.receiver->test(*receive_);
        require_good(*link_.receiver, link_.receive);
        Require(done.progress != Progress::kFailed, "a receive failed");
        received_ = done.progress == Progress::kDone;
        if (received_) check(done.bytes);
      }
      if (send_ && !sent_) {
        const Completion done = link_.sender->test(*send_);
        require_good(*link_.sender, link_.send);
        Require(done.progress != Progress::kFailed, "a send failed");
        sent_ = done.progress == Progress::kDone;
      }
      return received_ && sent_;
    }

   private:
    static transport::Buffer buffer(std::vector<uint8_t>& data) {
      return {data.data(), data.size(), 0};
    }
    void check(uint64_t bytes) const {
      Require(bytes == out_.size(), "a message of " + std::to_string(out_.size()) +
                                        " bytes was told as " + std::to_string(bytes));
      Require(std::equal(out_.begin(), out_.end(), in_.begin()),
              "a message of " + std::to_string(out_.size()) + " bytes arrived with other bytes");
    }

    Link link_;
    std::vector<uint8_t>&out_, &in_;
    uint32_t tag_;
    std::optional<RequestId> send_, receive_;
    bool sent_ = false, received_ = false;
  };

  static void require_good(const Transport& at, CommId comm) {
    if (at.state(comm) != CommState::kFailed) return;
    throw Failure{"a comm has failed: " + std::string(at.failure(comm))};
  }

  template <typename Condition>
  void wait(const char* what, Condition condition) {
    const TimeNs end = ends_.a->now() + ends_.timeout;
    while (!condition()) {
      Require(ends_.a->now() < end, std::string("waited in vain for ") + what);
      ends_.pump();
    }
  }

  template <typename Maker>
  typename std::invoke_result_t<Maker>::value_type wait_for(const char* what, Maker make) {
    std::invoke_result_t<Maker> made;
    wait(what, [&] { return static_cast<bool>(made = make()); });
    return *made;
  }

  static ListenId listen(Transport& at, transport::Handle& handle) {
    const auto listener = at.listen(handle);
    Require(static_cast<bool>(listener),
            "listen failed: " + (listener ? "" : listener.error().text()));
    return *listener;
  }

  Link connect(Transport& sender, Transport& receiver) {
    transport::Handle handle;
    const ListenId listener = listen(receiver, handle);
    const Link link = connect_to(sender, receiver, listener, handle);
    receiver.stop_listening(listener);
    return link;
  }

  Link connect_to(Transport& sender, Transport& receiver, ListenId listener,
                  const transport::Handle& handle) {
    const auto comm = sender.connect(handle);
    Require(static_cast<bool>(comm), "connect failed: " + (comm ? "" : comm.error().text()));
    const CommId accepted = wait_for("accept", [&] { return receiver.accept(listener); });
    require_good(receiver, accepted);
    wait("the connection to be ready", [&] {
      Require(sender.state(*comm) != CommState::kFailed, std::string(sender.failure(*comm)));
      return sender.state(*comm) == CommState::kReady;
    });
    return {&sender, &receiver, *comm, accepted};
  }

  RequestId post_receive(const Link& link, std::vector<uint8_t>& data, uint32_t tag) {
    return wait_for("a posted receive", [&] {
      return link.receiver->post_recv(link.receive, {data.data(), data.size(), 0}, tag);
    });
  }

  RequestId post_send(const Link& link, std::vector<uint8_t>& data, uint32_t tag) {
    return wait_for("a posted send", [&] {
      return link.sender->post_send(link.send, {data.data(), data.size(), 0}, tag);
    });
  }

  // A message of 1000 bytes and tag 0 must not fill such a receive.
  void refuses(uint64_t room, uint32_t tag, const char* if_filled) {
    const Link link = connect(*ends_.a, *ends_.b);
    std::vector<uint8_t>& data = keep(std::vector<uint8_t>(1000));
    std::vector<uint8_t>& in = keep(std::vector<uint8_t>(room));
    const RequestId receive = post_receive(link, in, tag);
    post_send(link, data, 0);
    wait("the receive to fail", [&] {
      const Completion done = link.receiver->test(receive);
      Require(done.progress != Progress::kDone, if_filled);
      return done.progress == Progress::kFailed;
    });
    close(link);
  }

  static void close(const Link& link) {
    link.sender->close(link.send);
    link.receiver->close(link.receive);
  }

  std::vector<uint8_t>& keep(std::vector<uint8_t> data) {
    return buffers_.emplace_back(std::move(data));
  }

  Moving moving(const Link& link, uint64_t bytes, uint64_t room, uint32_t tag) {
    return {link, keep(Pattern(bytes, bytes + tag)), keep(std::vector<uint8_t>(room)), tag};
  }

  void transfer(const Link& link, uint64_t bytes, uint64_t room, uint32_t tag) {
    Moving message = moving(link, bytes, room, tag);
    wait("a message", [&] { return message.step(); });
  }

  const ConformanceEnds& ends_;
  std::deque<std::vector<uint8_t>>& buffers_;
};

constexpr void (Cases::*kCases[])() = {
    &Cases::connects_both_ways,
    &Cases::delivers_every_size,
    &Cases::longer_receives_tell_the_length,
    &Cases::matches_in_posting_order,
    &Cases::delivers_nothing_twice,
    &Cases::moves_both_directions_at_once,
    &Cases::a_listener_serves_many,
    &Cases::what_is_sent_survives_a_close,
    &Cases::a_closed_peer_is_an_error,
    &Cases::a_message_too_long_is_an_error,
    &Cases::a_wrong_tag_is_an_error,
    &Cases::a_foreign_handle_is_refused,
};
constexpr ConformanceTitle kTitles[] = {
    {"connects both ways"},
    {"delivers every size"},
    {"longer receives tell the length"},
    {"matches in posting order"},
    {"delivers nothing twice"},
    {"moves both directions at once"},
    {"a listener serves many"},
    {"what is sent survives a close"},
    {"a closed peer is an error"},
    {"a message too long is an error", true},
    {"a wrong tag is an error", true},
    {"a foreign handle is refused", true},
};
static_assert(std::size(kCases) == std::size(kTitles));

}  // namespace

std::span<const ConformanceTitle> ConformanceTitles() { return kTitles; }

ConformanceCase RunConformanceCase(const ConformanceEnds& ends, size_t index) {
  ConformanceCase result{std::string(kTitles[index].name), true, {}};
  Cases cases(ends, result.buffers);
  try {
    (cases.*kCases[index])();
  } catch (const Failure& failure) {
    result.passed = false;
    result.detail = failure.text;
  }
  return result;
}

std::vector<ConformanceCase> RunConformance(const ConformanceEnds& ends) {
  std::vector<ConformanceCase> results;
  for (size_t i = 0; i < std::size(kTitles); ++i) results.push_back(RunConformanceCase(ends, i));
  return results;
}

}  // namespace farspan::testbed
