// What following queue pairs costs, ns per packet through both taps, over as many queue pairs as
// the argument says, with frames in the first caches: parsing alone, parsing and the observer, and
// the ICRC. Both directions: data one way, an ACK for every eighth packet the other.
#include <benchmark/benchmark.h>

#include <vector>

#include "emulator/roce/qp_observer.h"
#include "tests/support/roce_builder.h"

namespace {

using namespace farspan;
using namespace farspan::roce;
using test::Bytes;

struct Traffic {
  std::vector<Bytes> data;  // by queue pair
  std::vector<Bytes> acks;
};

Traffic MakeTraffic(uint32_t queue_pairs, int ip_version, size_t payload) {
  Traffic out;
  for (uint32_t i = 0; i < queue_pairs; ++i) {
    test::FrameSpec frame{.ip_version = ip_version,
                          .src_port = static_cast<uint16_t>(49'152 + i % 16'384)};
    out.data.push_back(test::BuildRoce({.frame = frame,
                                        .opcode = 0x01,
                                        .dest_qp = 0x1000 + i,
                                        .ack_request = true,
                                        .payload_bytes = payload}));
    frame.src = ip_version == 4 ? "10.0.0.2" : "fd00::2";
    frame.dst = ip_version == 4 ? "10.0.0.1" : "fd00::1";
    out.acks.push_back(test::BuildRoce({.frame = frame, .opcode = 0x11, .dest_qp = 0x900000 + i}));
  }
  return out;
}

void SetPsn(Bytes& frame, int ip_version, uint32_t psn) {
  uint8_t* at = frame.data() + (ip_version == 4 ? 42 : 62) + 9;
  at[0] = static_cast<uint8_t>(psn >> 16);
  at[1] = static_cast<uint8_t>(psn >> 8);
  at[2] = static_cast<uint8_t>(psn);
}

FrameView Parse(const Bytes& frame) {
  return ParseFrame(frame, static_cast<uint32_t>(frame.size()), 4200);
}

enum class Work { kFrame, kHeaders, kObserve, kObserveAndIcrc };

void Through(QpObserver& observer, uint32_t direction, TimeNs now, const Bytes& frame, Work work) {
  const FrameView view = Parse(frame);
  benchmark::DoNotOptimize(view);
  if (work == Work::kFrame) return;
  const RoceView roce = ParseRoce(frame, view);
  benchmark::DoNotOptimize(roce);
  if (work == Work::kHeaders) return;
  Passage passage;
  benchmark::DoNotOptimize(observer.ingress(direction, now, frame, view, roce, passage));
  observer.egress(direction, passage, {.entered = now});
}

void BM_Observer(benchmark::State& state, Work work, int ip_version, size_t payload) {
  const auto queue_pairs = static_cast<uint32_t>(state.range(0));
  Traffic traffic = MakeTraffic(queue_pairs, ip_version, payload);
  QpObserver observer({.queue_pairs = 1024, .check_icrc = work == Work::kObserveAndIcrc},
                      TimeNs{25'000'000});
  TimeNs now{};
  uint32_t psn = 0;
  uint32_t qp = 0;
  for (auto _ : state) {
    now += TimeNs{80};
    SetPsn(traffic.data[qp], ip_version, psn);
    Through(observer, 0, now, traffic.data[qp], work);
    if (psn % 8 == 7) {
      SetPsn(traffic.acks[qp], ip_version, psn);
      Through(observer, 1, now, traffic.acks[qp], work);
    }
    if (++qp < queue_pairs) continue;
    qp = 0;
    psn = PsnAdd(psn, 1);
  }
  state.SetItemsProcessed(state.iterations());
}

BENCHMARK_CAPTURE(BM_Observer, frame_view_alone, Work::kFrame, 4, 256)->Arg(1)->Arg(1024);
BENCHMARK_CAPTURE(BM_Observer, roce_view, Work::kHeaders, 4, 256)->Arg(1)->Arg(1024);
BENCHMARK_CAPTURE(BM_Observer, both_taps, Work::kObserve, 4, 256)->Arg(1)->Arg(64)->Arg(1024);
BENCHMARK_CAPTURE(BM_Observer, both_taps_ipv6, Work::kObserve, 6, 256)->Arg(1)->Arg(1024);
// The ICRC of these is wrong, as their PSNs change: it is computed, and they are not followed.
BENCHMARK_CAPTURE(BM_Observer, icrc_4096, Work::kObserveAndIcrc, 4, 4096)->Arg(1);

// A new queue pair for every packet: the worst there is.
void BM_Evictions(benchmark::State& state) {
  Traffic traffic = MakeTraffic(1, 4, 256);
  QpObserver observer({.queue_pairs = 1024}, TimeNs{25'000'000});
  uint32_t qp = 0;
  for (auto _ : state) {
    Bytes& frame = traffic.data[0];
    frame[47] = static_cast<uint8_t>(qp >> 16);
    frame[48] = static_cast<uint8_t>(qp >> 8);
    frame[49] = static_cast<uint8_t>(qp++);
    Through(observer, 0, TimeNs{qp}, frame, Work::kObserve);
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_Evictions);

}  // namespace
