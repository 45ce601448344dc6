#include "tests/support/link_support.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <utility>

namespace farspan::test {

using link::PacketRef;

link::DirectionSpec Plain(Rate rate, TimeNs delay) {
  link::DirectionSpec spec;
  spec.lanes[0].rate = rate;
  spec.lanes[0].path.delay = delay;
  spec.bottleneck.classes[0].limit = {.bytes = 0};
  return spec;
}

link::DirectionSpec Glass(Rate rate, Length length) {
  link::DirectionSpec spec = Plain(rate, {});
  spec.lanes[0].path.length = length;
  return spec;
}

static void Number(std::vector<PacketRef>& packets) {
  for (size_t i = 0; i < packets.size(); ++i) {
    packets[i].handle = i;
    packets[i].sequence = static_cast<uint32_t>(i);
  }
}

std::vector<PacketRef> Train(uint64_t count, uint32_t wire_bytes, TimeNs start, TimeNs spacing,
                             PacketRef like) {
  std::vector<PacketRef> packets(count, like);
  for (uint64_t i = 0; i < count; ++i) {
    packets[i].wire_bytes = wire_bytes;
    packets[i].due = start + TimeNs{static_cast<int64_t>(i) * spacing.ns};
  }
  Number(packets);
  return packets;
}

std::vector<PacketRef> Merge(std::vector<PacketRef> a, const std::vector<PacketRef>& b) {
  a.insert(a.end(), b.begin(), b.end());
  std::stable_sort(a.begin(), a.end(), [](auto& x, auto& y) { return x.due < y.due; });
  Number(a);
  return a;
}

sim::LinkTrace MustRun(const sim::LinkRun& run) {
  Result<sim::LinkTrace> trace = sim::RunLink(run);
  if (!trace) {
    std::fprintf(stderr, "the link refused the run: %s\n", trace.error().text().c_str());
    std::abort();
  }
  return *std::move(trace);
}

sim::LinkTrace MustRun(const link::DirectionSpec& spec, std::vector<PacketRef> traffic) {
  sim::LinkRun run;
  run.spec = spec;
  run.capacity.packets = 2 * traffic.size() + 16;
  run.traffic = std::move(traffic);
  return MustRun(run);
}

std::vector<PacketRef> Forwarded(const sim::LinkTrace& trace) {
  std::vector<PacketRef> packets;
  std::copy_if(trace.released.begin(), trace.released.end(), std::back_inserter(packets),
               [](const PacketRef& p) { return (p.flags & link::kDropped) == 0; });
  return packets;
}

std::vector<uint64_t> Dropped(const sim::LinkTrace& trace, link::Cause cause) {
  std::vector<uint64_t> handles;
  for (const PacketRef& p : trace.released) {
    if ((p.flags & link::kDropped) != 0 && p.cause == cause) handles.push_back(p.handle);
  }
  std::sort(handles.begin(), handles.end());
  return handles;
}

std::vector<TimeNs> Arrivals(const sim::LinkTrace& trace, uint64_t count) {
  std::vector<TimeNs> due(count, kNever);
  for (const PacketRef& p : trace.released) {
    if ((p.flags & (link::kDropped | link::kDuplicate)) == 0) due.at(p.handle) = p.due;
  }
  return due;
}

std::vector<uint64_t> Range(uint64_t begin, uint64_t end, uint64_t step) {
  std::vector<uint64_t> handles;
  for (uint64_t i = begin; i < end; i += step) handles.push_back(i);
  return handles;
}

}  // namespace farspan::test
