#include "tests/support/fake_verbs.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <deque>
#include <map>
#include <thread>
#include <utility>

#include "emulator/base/check.h"

#undef ibv_get_device_list
#undef ibv_query_port
#undef ibv_reg_mr

namespace farspan::test {
namespace {

struct Queue : ibv_cq {
  std::deque<ibv_wc> completions;
  bool armed = false;
};

struct Channel : ibv_comp_channel {
  std::deque<Queue*> events;
};

struct Waiting {  // an RC immediate without a receive
  uint32_t immediate = 0, bytes = 0;
};

struct Pair : ibv_qp {
  std::deque<ibv_recv_wr> receives;
  std::deque<ibv_sge> pieces;  // of the receives, where they have one
  std::deque<Waiting> waiting;
  uint32_t peer = 0;  // RC
  bool failed = false;
};

struct Handle : ibv_ah {};

ibv_device device{};
std::map<uint32_t, Pair*> pairs;
uint32_t next_pair = 17;

void Complete(ibv_cq* to, const ibv_wc& completion) {
  auto* queue = static_cast<Queue*>(to);
  queue->completions.push_back(completion);
  if (!std::exchange(queue->armed, false) || queue->channel == nullptr) return;
  auto* channel = static_cast<Channel*>(queue->channel);
  channel->events.push_back(queue);
  eventfd_write(channel->fd, 1);
}

ibv_wc Completed(const Pair& pair, uint64_t id, ibv_wc_opcode opcode) {
  ibv_wc completion{};
  completion.wr_id = id;
  completion.qp_num = pair.qp_num;
  completion.opcode = opcode;
  return completion;
}

void GiveImmediates(Pair& pair) {
  while (!pair.receives.empty() && !pair.waiting.empty()) {
    ibv_wc completion = Completed(pair, pair.receives.front().wr_id, IBV_WC_RECV_RDMA_WITH_IMM);
    completion.imm_data = pair.waiting.front().immediate;
    completion.byte_len = pair.waiting.front().bytes;
    pair.receives.pop_front();
    pair.pieces.pop_front();
    pair.waiting.pop_front();
    Complete(pair.recv_cq, completion);
  }
}

void Deliver(const Pair& from, Pair& to, const ibv_send_wr& request) {
  if (to.receives.empty() || to.failed) return;
  const ibv_sge& piece = to.pieces.front();
  const ibv_sge& sent = request.sg_list[0];
  auto* bytes = reinterpret_cast<uint8_t*>(piece.addr);
  std::memset(bytes, 0, 40);
  bytes[20] = 0x45;  // an IPv4 header from 127.0.0.1, its checksum left out
  bytes[32] = 127;
  bytes[35] = 1;
  FARSPAN_CHECK(40 + sent.length <= piece.length);
  std::memcpy(bytes + 40, reinterpret_cast<const void*>(sent.addr), sent.length);
  ibv_wc completion = Completed(to, to.receives.front().wr_id, IBV_WC_RECV);
  completion.byte_len = 40 + sent.length;
  completion.src_qp = from.qp_num;
  to.receives.pop_front();
  to.pieces.pop_front();
  Complete(to.recv_cq, completion);
}

int PostSend(ibv_qp* qp, ibv_send_wr* request, ibv_send_wr**) {
  auto& from = static_cast<Pair&>(*qp);
  for (; request != nullptr; request = request->next) {
    const bool write = request->opcode == IBV_WR_RDMA_WRITE_WITH_IMM;
    const auto to = pairs.find(write ? from.peer : request->wr.ud.remote_qpn);
    ibv_wc completion = Completed(from, request->wr_id, write ? IBV_WC_RDMA_WRITE : IBV_WC_SEND);
    if (from.failed) {
      completion.status = IBV_WC_WR_FLUSH_ERR;
    } else if (write && to == pairs.end()) {
      completion.status = IBV_WC_RETRY_EXC_ERR;
    } else if (write) {
      uint32_t bytes = 0;
      for (int i = 0; i < request->num_sge; ++i) {
        std::memcpy(reinterpret_cast<void*>(request->wr.rdma.remote_addr),
                    reinterpret_cast<const void*>(request->sg_list[i].addr),
                    request->sg_list[i].length);
        bytes = request->sg_list[i].length;
      }
      to->second->waiting.push_back({request->imm_data, bytes});
      GiveImmediates(*to->second);
    } else if (to != pairs.end()) {
      Deliver(from, *to->second, *request);
    }
    const bool told = (request->send_flags & IBV_SEND_SIGNALED) != 0;
    if (told || completion.status != IBV_WC_SUCCESS) Complete(from.send_cq, completion);
  }
  return 0;
}

int PostReceive(ibv_qp* qp, ibv_recv_wr* request, ibv_recv_wr**) {
  auto& pair = static_cast<Pair&>(*qp);
  for (; request != nullptr; request = request->next) {
    pair.receives.push_back(*request);
    pair.pieces.push_back(request->num_sge > 0 ? request->sg_list[0] : ibv_sge{});
  }
  if (pair.qp_type == IBV_QPT_RC) GiveImmediates(pair);
  return 0;
}

int Poll(ibv_cq* cq, int most, ibv_wc* out) {
  auto& completions = static_cast<Queue*>(cq)->completions;
  int count = 0;
  for (; count < most && !completions.empty(); ++count) {
    out[count] = completions.front();
    completions.pop_front();
  }
  return count;
}

int Arm(ibv_cq* cq, int) {
  if (Fake().arm_error != 0) return Fake().arm_error;
  static_cast<Queue*>(cq)->armed = true;
  return 0;
}

ibv_context* MakeContext() {
  auto* context = new ibv_context{};
  context->device = &device;
  context->ops.poll_cq = Poll;
  context->ops.req_notify_cq = Arm;
  context->ops.post_send = PostSend;
  context->ops.post_recv = PostReceive;
  return context;
}

}  // namespace

FakeVerbs& Fake() {
  static FakeVerbs fake;
  return fake;
}

void FakeVerbs::fail(uint32_t number, ibv_wc_status status, bool of_send) {
  Pair& pair = *pairs.at(number);
  pair.failed = true;
  ibv_wc completion = Completed(pair, 0, of_send ? IBV_WC_SEND : IBV_WC_RECV);
  completion.status = status;
  Complete(of_send ? pair.send_cq : pair.recv_cq, completion);
  for (const ibv_recv_wr& receive : pair.receives) {
    ibv_wc flushed = Completed(pair, receive.wr_id, IBV_WC_RECV);
    flushed.status = IBV_WC_WR_FLUSH_ERR;
    Complete(pair.recv_cq, flushed);
  }
  pair.receives.clear();
  pair.pieces.clear();
}

}  // namespace farspan::test

using namespace farspan::test;

extern "C" {

ibv_device** ibv_get_device_list(int* count) {
  *count = 1;
  return new ibv_device* [2] { &device, nullptr };
}
void ibv_free_device_list(ibv_device** list) { delete[] list; }
const char* ibv_get_device_name(ibv_device*) { return "fake0"; }
ibv_context* ibv_open_device(ibv_device*) { return MakeContext(); }
int ibv_close_device(ibv_context* context) {
  delete context;
  return 0;
}
int ibv_query_device(ibv_context*, ibv_device_attr*) { return 0; }
int ibv_query_port(ibv_context*, uint8_t, _compat_ibv_port_attr* out) {
  auto* port = reinterpret_cast<ibv_port_attr*>(out);
  port->state = IBV_PORT_ACTIVE;
  port->active_mtu = IBV_MTU_4096;
  return 0;
}
ssize_t _ibv_query_gid_table(ibv_context*, ibv_gid_entry* entries, size_t, uint32_t, size_t) {
  entries[0] = {};
  entries[0].port_num = 1;
  entries[0].gid_type = IBV_GID_TYPE_ROCE_V2;
  const uint8_t local[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1};
  std::memcpy(entries[0].gid.raw, local, sizeof local);
  return 1;
}

ibv_pd* ibv_alloc_pd(ibv_context* context) { return new ibv_pd{context, 0}; }
int ibv_dealloc_pd(ibv_pd* domain) {
  delete domain;
  return 0;
}
ibv_mr* ibv_reg_mr(ibv_pd* domain, void* at, size_t bytes, int) {
  return new ibv_mr{domain->context, domain, at, bytes, 0, 1, 1};
}
ibv_mr* ibv_reg_mr_iova2(ibv_pd* domain, void* at, size_t bytes, uint64_t, unsigned) {
  return ibv_reg_mr(domain, at, bytes, 0);
}
int ibv_dereg_mr(ibv_mr* region) {
  delete region;
  return 0;
}

ibv_comp_channel* ibv_create_comp_channel(ibv_context* context) {
  auto* channel = new Channel{};
  channel->context = context;
  channel->fd = eventfd(0, EFD_NONBLOCK | EFD_SEMAPHORE | EFD_CLOEXEC);
  return channel;
}
int ibv_destroy_comp_channel(ibv_comp_channel* channel) {
  ::close(channel->fd);
  delete static_cast<Channel*>(channel);
  return 0;
}
ibv_cq* ibv_create_cq(ibv_context* context, int, void*, ibv_comp_channel* channel, int) {
  auto* queue = new Queue{};
  queue->context = context;
  queue->channel = channel;
  return queue;
}
int ibv_destroy_cq(ibv_cq* cq) {
  auto* queue = static_cast<Queue*>(cq);
  auto& events = static_cast<Channel*>(queue->channel)->events;
  for (auto at = events.begin(); at != events.end();) {
    eventfd_t one;
    at = *at == queue ? (eventfd_read(queue->channel->fd, &one), events.erase(at)) : at + 1;
  }
  delete queue;
  return 0;
}
int ibv_get_cq_event(ibv_comp_channel* to, ibv_cq** queue, void** context) {
  auto* channel = static_cast<Channel*>(to);
  eventfd_t one;
  if (eventfd_read(channel->fd, &one) != 0) return -1;
  *queue = channel->events.front();
  *context = nullptr;
  channel->events.pop_front();
  return 0;
}
void ibv_ack_cq_events(ibv_cq*, unsigned) {}

ibv_qp* ibv_create_qp(ibv_pd* domain, ibv_qp_init_attr* wanted) {
  auto* pair = new Pair{};
  pair->context = domain->context;
  pair->send_cq = wanted->send_cq;
  pair->recv_cq = wanted->recv_cq;
  pair->qp_type = wanted->qp_type;
  pair->qp_num = next_pair++;
  pairs[pair->qp_num] = pair;
  Fake().numbers.push_back(pair->qp_num);
  return pair;
}
int ibv_modify_qp(ibv_qp* qp, ibv_qp_attr* attributes, int mask) {
  if ((mask & IBV_QP_DEST_QPN) != 0) static_cast<Pair*>(qp)->peer = attributes->dest_qp_num;
  return 0;
}
int ibv_destroy_qp(ibv_qp* qp) {
  pairs.erase(qp->qp_num);
  delete static_cast<Pair*>(qp);
  return 0;
}

ibv_ah* ibv_create_ah(ibv_pd*, ibv_ah_attr*) {
  FakeVerbs& fake = Fake();
  for (int64_t ms = 0; ms < fake.resolve_ms && !fake.released; ++ms) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  if (fake.resolve_error != 0) {
    errno = fake.resolve_error;
    return nullptr;
  }
  return new Handle{};
}
int ibv_destroy_ah(ibv_ah* handle) {
  delete static_cast<Handle*>(handle);
  return 0;
}

}  // extern "C"
