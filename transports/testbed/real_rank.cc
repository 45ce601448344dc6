#include "transports/testbed/real_rank.h"

#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>

#include "transports/testbed/bootstrap.h"
#include "transports/testbed/net_group.h"
#include "transports/testbed/real_contender.h"

namespace farspan::testbed {
namespace {

double CpuSeconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

class RankSample {
 public:
  RankSample(const Case& of, const RankOrder& order)
      : case_(of), order_(order), task_(of.tasks[order.rank]), reducer_(of.scenario->element) {}

  Result<void> prepare() {
    const Scenario& scenario = *case_.scenario;
    const EndpointOrder order{.spec = case_.contender,
                              .rate = case_.rate,
                              .preset = case_.preset,
                              .payload_bytes = scenario.payload_bytes,
                              .window_packets = case_.window_packets,
                              .timeout = scenario.limit,
                              .seed = (scenario.seed + order_.sample) * 1'000 + order_.rank};
    auto contender = MakeRealContender(order, order_.local);
    if (!contender) return tl::unexpected(contender.error());
    transport_ = contender->transport.get();
    traffic_ = std::move(contender->traffic);
    auto bootstrap =
        Bootstrap::Join({order_.rank, scenario.ranks(), order_.root,
                         scenario.name + ", " + case_.contender->name, scenario.limit});
    if (!bootstrap) return tl::unexpected(bootstrap.error());
    group_ = std::make_unique<NetGroup>(std::move(*bootstrap), std::move(contender->transport),
                                        scenario.limit);
    input_.resize(task_.input_bytes());
    output_.resize(task_.output_bytes());
    FillInput(task_, scenario.element, order_.sample, input_);
    if (auto done = group_->connect({&plan(), 1}, {kSlots, case_.slot_bytes}, &reducer_); !done) {
      return done;
    }
    for (uint32_t i = 0; i < scenario.warm_up; ++i) {
      std::vector<RankRun> runs = one_iteration();
      if (auto done = group_->run(runs); !done) return done;
    }
    if (auto settled = group_->settle(); !settled) return settled;
    const TimeNs silence = transport_->now() + case_.rtt;
    while (transport_->now() < silence) transport_->progress(silence);
    return {};
  }

  Result<nlohmann::json> measure(const AwaitStart& await) {
    const auto start =
        await([this] { transport_->progress(transport_->now() + TimeNs{1'000'000}); });
    if (!start) return tl::unexpected(start.error());
    const TrafficBytes before = traffic_();
    const double cpu_before = CpuSeconds();
    std::vector<RankRun> runs = one_iteration();
    if (auto done = group_->run_at(*start, runs); !done) return tl::unexpected(done.error());
    if (auto settled = group_->settle(); !settled) return tl::unexpected(settled.error());
    const double cpu = CpuSeconds() - cpu_before;
    const TrafficBytes after = traffic_();
    if (const uint64_t wrong = CountWrong(task_, case_.scenario->element, order_.sample, output_)) {
      return Fail(ErrorCode::kIo, fmt::format("{} elements of the result are wrong", wrong));
    }
    return nlohmann::json{{"seconds", ToSeconds(runs[0].ends().back() - *start)},
                          {"cpu_s", cpu},
                          {"resent", after.resent - before.resent},
                          {"duplicate", after.duplicate - before.duplicate},
                          {"parity", after.parity - before.parity}};
  }

 private:
  const collectives::Plan& plan() const { return case_.plans[order_.rank]; }

  std::vector<RankRun> one_iteration() {
    std::vector<RankRun> runs;
    runs.emplace_back(group_->executor(0), *transport_, plan(),
                      collectives::Buffers{input_.data(), output_.data()}, 1);
    return runs;
  }

  const Case& case_;
  const RankOrder& order_;
  const collectives::Task& task_;
  SumReducer reducer_;
  std::vector<std::byte> input_, output_;
  transport::Transport* transport_ = nullptr;  // the group's
  std::function<TrafficBytes()> traffic_;
  std::unique_ptr<NetGroup> group_;
};

}  // namespace

Result<nlohmann::json> RunRank(const Case& of, const RankOrder& order, const AwaitStart& await) {
  RankSample sample(of, order);
  if (auto ready = sample.prepare(); !ready) return tl::unexpected(ready.error());
  return sample.measure(await);
}

}  // namespace farspan::testbed
