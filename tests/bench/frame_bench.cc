// What the driver does to each frame's headers, ns per frame, with the headers in the first cache.
#include <benchmark/benchmark.h>

#include <array>

#include "emulator/roce/class_map.h"
#include "emulator/roce/frame_view.h"
#include "emulator/roce/rewrite.h"
#include "emulator/roce/rule_table.h"
#include "tests/support/frame_builder.h"

namespace {

using namespace farspan;
using namespace farspan::roce;
using test::Bytes;
using test::FrameSpec;

constexpr size_t kFrames = 64;  // of different flows, so that branches on content do not settle

std::vector<Bytes> Flows(FrameSpec spec) {
  std::vector<Bytes> frames;
  for (size_t i = 0; i < kFrames; ++i) {
    spec.src_port = static_cast<uint16_t>(49152 + i * 251);
    frames.push_back(test::BuildFrame(spec));
  }
  return frames;
}

FrameView Parse(const Bytes& frame) {
  return ParseFrame(frame, static_cast<uint32_t>(frame.size()), 1500);
}

template <typename F>
void ForEachFrame(benchmark::State& state, const FrameSpec& spec, F&& body) {
  std::vector<Bytes> frames = Flows(spec);
  size_t i = 0;
  for (auto _ : state) body(frames[i++ % kFrames]);
  state.SetItemsProcessed(state.iterations());
}

void BM_Parse(benchmark::State& state, const FrameSpec& spec) {
  ForEachFrame(state, spec, [](const Bytes& frame) { benchmark::DoNotOptimize(Parse(frame)); });
}
BENCHMARK_CAPTURE(BM_Parse, udp_ipv4, FrameSpec{});
BENCHMARK_CAPTURE(BM_Parse, tcp_ipv4, FrameSpec{.protocol = 6});
BENCHMARK_CAPTURE(BM_Parse, udp_ipv4_vlan, FrameSpec{.tags = {{7, 3}}});
BENCHMARK_CAPTURE(BM_Parse, udp_ipv6, FrameSpec{.ip_version = 6});
BENCHMARK_CAPTURE(BM_Parse, udp_ipv6_three_extensions,
                  FrameSpec{.ip_version = 6, .extensions = {{0, 8}, {60, 8}, {43, 24}}});
BENCHMARK_CAPTURE(BM_Parse, arp, FrameSpec{.ip_version = 0, .ethertype = kEtherArp});

// All that an arriving frame needs: view, flow, class, and no rules.
void BM_Ingress(benchmark::State& state, const FrameSpec& spec) {
  const ClassMap classes = *ClassMap::Create({}, true);
  RuleTable rules;
  ForEachFrame(state, spec, [&](const Bytes& frame) {
    const FrameView view = Parse(frame);
    benchmark::DoNotOptimize(FlowHash(view) + classes.classify(view) + rules.match(view, TimeNs{}));
  });
}
BENCHMARK_CAPTURE(BM_Ingress, udp_ipv4, FrameSpec{});
BENCHMARK_CAPTURE(BM_Ingress, udp_ipv6, FrameSpec{.ip_version = 6});

void BM_Rules(benchmark::State& state) {
  RuleMatch rule;
  rule.protocol = 17;
  rule.dst_port = PortRange{1, 1};
  const std::vector<RuleMatch> rules(static_cast<size_t>(state.range(0)), rule);
  RuleTable table = *RuleTable::Create(rules, TimeNs{});
  const FrameView view = Parse(test::BuildFrame({}));
  for (auto _ : state) benchmark::DoNotOptimize(table.match(view, TimeNs{}));
}
BENCHMARK(BM_Rules)->Arg(0)->Arg(1)->Arg(16)->Arg(254);

void BM_SetCe(benchmark::State& state, const FrameSpec& spec) {
  ForEachFrame(state, spec, [&](Bytes& frame) {
    frame[15] = 2;  // ECT(0) again
    benchmark::DoNotOptimize(SetCe(frame));
  });
}
BENCHMARK_CAPTURE(BM_SetCe, udp_ipv4, FrameSpec{.ecn = 2});

void BM_CorruptPayload(benchmark::State& state) {
  uint64_t random = 1;
  ForEachFrame(state, {}, [&](Bytes& frame) {
    random *= 0x9e3779b97f4a7c15u;
    benchmark::DoNotOptimize(CorruptPayload(frame, random));
  });
}
BENCHMARK(BM_CorruptPayload);

}  // namespace
