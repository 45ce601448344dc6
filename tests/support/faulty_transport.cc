// A library with the C ABI that keeps its rules, or breaks the one that its option names: the twins
// that `farspan conform` must fail. Both ends live in one process, messages are copied.
//
// Options: "" keeps the rules; order, twice, corrupt, short, overflow, lost (never arrives), mute
// (a failed comm says nothing), any-tag, any-handle, hang (a call does not return), crash, exit,
// late (never arrives, but is written when the instance is closed), no-request (success without a
// request), few-requests, no-open, odd-CALL (an answer that is none: state, accept, progress, test,
// listen, connect, post).
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <list>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "transports/abi/farspan_transport.h"

namespace {

struct Message {
  std::vector<char> data;
  uint32_t tag;
};

}  // namespace

struct farspan_request {
  farspan_comm* comm;
  void* data;
  uint64_t bytes;
  uint32_t tag;
  bool done;
};

// One side of a pair; what the sender posted waits at the receiver's.
struct farspan_comm {
  farspan_comm* peer = nullptr;
  bool sends = false, accepted = false;
  std::string why;
  std::deque<Message> arrived;
  std::deque<farspan_request*> waiting;
  std::list<farspan_request> requests;
};

struct farspan_listener {
  uint64_t number;
};

struct farspan_instance {
  std::string fault;
  std::list<std::pair<void*, uint64_t>> receives{};  // "late": all that were posted
};

namespace {

uint64_t last_listener = 1000;
std::map<uint64_t, std::deque<farspan_comm*>> connecting;

int Open(const farspan_config* config, farspan_instance** instance, farspan_error* error) {
  if (std::string_view(config->options) == "no-open") {
    std::snprintf(error->text, sizeof error->text, "told not to");
    return FARSPAN_FAILED;
  }
  *instance = new farspan_instance{config->options};
  return FARSPAN_OK;
}
void Close(farspan_instance* instance) {
  for (const auto& [data, bytes] : instance->receives) {
    std::fill_n(static_cast<char*>(data), bytes, 1);  // of no bytes: data may be null
  }
  delete instance;
}
constexpr int kOdd = 7;
bool Odd(farspan_instance* instance, std::string_view call) {
  return instance->fault == "odd-" + std::string(call);
}
void Properties(farspan_instance* instance, farspan_properties* properties) {
  *properties = {uint64_t{1} << 30, instance->fault == "few-requests" ? 7u : 64u, 0, 0};
}

int Listen(farspan_instance* instance, uint8_t* handle, farspan_listener** listener,
           farspan_error*) {
  if (Odd(instance, "listen")) return kOdd;
  *listener = new farspan_listener{++last_listener};
  connecting[last_listener] = {};
  std::memcpy(handle, &last_listener, sizeof last_listener);
  return FARSPAN_OK;
}
void StopListening(farspan_instance*, farspan_listener* listener) {
  connecting.erase(listener->number);
  delete listener;
}
int Accept(farspan_instance* instance, farspan_listener* listener, farspan_comm** comm) {
  if (Odd(instance, "accept")) return kOdd;
  auto& waiting = connecting[listener->number];
  if (waiting.empty()) return FARSPAN_AGAIN;
  *comm = waiting.front();
  waiting.pop_front();
  (*comm)->accepted = (*comm)->peer->accepted = true;
  return FARSPAN_OK;
}
int Connect(farspan_instance* instance, const uint8_t* handle, farspan_comm** comm,
            farspan_error* error) {
  if (Odd(instance, "connect")) return kOdd;
  uint64_t number = 0;
  std::memcpy(&number, handle, sizeof number);
  if (connecting.count(number) == 0 && instance->fault != "any-handle") {
    std::snprintf(error->text, sizeof error->text, "nobody listens there");
    return FARSPAN_FAILED;
  }
  auto *here = new farspan_comm, *there = new farspan_comm;
  here->sends = true;
  here->peer = there;
  there->peer = here;
  connecting[number].push_back(there);
  *comm = here;
  return FARSPAN_OK;
}
int State(farspan_instance* instance, farspan_comm* comm) {
  if (Odd(instance, "state")) return kOdd;
  if (!comm->why.empty()) return FARSPAN_FAILED;
  return comm->accepted ? FARSPAN_OK : FARSPAN_AGAIN;
}
const char* Failure(farspan_instance* instance, farspan_comm* comm) {
  return instance->fault == "mute" ? "" : comm->why.c_str();
}
void CloseComm(farspan_instance*, farspan_comm* comm) {
  if (comm->peer != nullptr) {
    comm->peer->peer = nullptr;
    if (comm->sends && comm->peer->arrived.empty()) comm->peer->why = "closed by the other side";
  }
  delete comm;
}

// Fills receives with what has arrived.
void Match(farspan_instance* instance, farspan_comm& comm) {
  const std::string& fault = instance->fault;
  while (!comm.arrived.empty() && !comm.waiting.empty() && comm.why.empty()) {
    const bool swap = fault == "order" && comm.arrived.size() > 1;
    Message message = comm.arrived[swap ? 1 : 0];
    farspan_request& request = *comm.waiting.front();
    if (message.data.size() > request.bytes || (message.tag != request.tag && fault != "any-tag")) {
      comm.why = "a message does not fit its receive";
      return;
    }
    if (fault == "corrupt" && !message.data.empty()) message.data[message.data.size() / 2] ^= 1;
    std::copy(message.data.begin(), message.data.end(), static_cast<char*>(request.data));
    if (fault == "overflow" && message.data.size() < request.bytes) {
      static_cast<char*>(request.data)[message.data.size()] = 1;
    }
    request.bytes = message.data.size() - (fault == "short" && !message.data.empty() ? 1 : 0);
    request.done = true;
    comm.waiting.pop_front();
    comm.arrived.erase(comm.arrived.begin() + (swap ? 1 : 0));
  }
}

int Post(farspan_instance* instance, farspan_comm* comm, void* data, uint64_t bytes, uint32_t tag,
         farspan_request** request) {
  if (!comm->accepted || comm->requests.size() == 64) return FARSPAN_AGAIN;
  if (Odd(instance, "post")) return kOdd;
  if (instance->fault == "no-request") return FARSPAN_OK;
  if (instance->fault == "late" && !comm->sends) instance->receives.emplace_back(data, bytes);
  comm->requests.push_back({comm, data, bytes, tag, false});
  *request = &comm->requests.back();
  if (!comm->sends) {
    comm->waiting.push_back(*request);
    Match(instance, *comm);
    return FARSPAN_OK;
  }
  (*request)->done = true;
  if (comm->peer == nullptr || instance->fault == "lost" || instance->fault == "late") {
    return FARSPAN_OK;
  }
  const auto* from = static_cast<const char*>(data);
  for (int i = 0; i < (instance->fault == "twice" ? 2 : 1); ++i) {
    comm->peer->arrived.push_back({{from, from + bytes}, tag});
  }
  Match(instance, *comm->peer);
  return FARSPAN_OK;
}
int PostSend(farspan_instance* instance, farspan_comm* comm, const void* data, uint64_t bytes,
             uint32_t tag, uint32_t, farspan_request** request) {
  return Post(instance, comm, const_cast<void*>(data), bytes, tag, request);
}
int PostRecv(farspan_instance* instance, farspan_comm* comm, void* data, uint64_t bytes,
             uint32_t tag, uint32_t, farspan_request** request) {
  return Post(instance, comm, data, bytes, tag, request);
}
int Test(farspan_instance* instance, farspan_request* request, uint64_t* bytes) {
  if (Odd(instance, "test")) return kOdd;
  farspan_comm& comm = *request->comm;
  if (!request->done && comm.why.empty()) return FARSPAN_AGAIN;
  const int answer = request->done ? FARSPAN_OK : FARSPAN_FAILED;
  *bytes = request->bytes;
  comm.requests.remove_if([=](const farspan_request& one) { return &one == request; });
  return answer;
}
[[maybe_unused]] int Progress(farspan_instance* instance, int64_t) {
  if (instance->fault == "hang") {
    while (true) pause();
  }
  if (instance->fault == "crash") std::abort();
  if (instance->fault == "exit") _exit(7);
  if (Odd(instance, "progress")) return kOdd;
  return FARSPAN_OK;
}

#ifdef NO_PROGRESS  // as of a library that has threads of its own
constexpr auto kProgress = nullptr;
#else
constexpr auto kProgress = Progress;
#endif

}  // namespace

const farspan_transport_ops farspan_transport_plugin = {FARSPAN_TRANSPORT_ABI,
                                                        sizeof(farspan_transport_ops),
                                                        "faulty",
                                                        Open,
                                                        Close,
                                                        Properties,
                                                        Listen,
                                                        StopListening,
                                                        Accept,
                                                        Connect,
                                                        State,
                                                        Failure,
                                                        CloseComm,
                                                        PostSend,
                                                        PostRecv,
                                                        Test,
                                                        kProgress,
                                                        nullptr,
                                                        nullptr};
