#include "emulator/dpdk/engine.h"

#include <fmt/format.h>
#include <rte_launch.h>

#include <algorithm>
#include <chrono>
#include <ctime>

#include "emulator/config/resolve_pfc.h"
#include "emulator/dpdk/config_memory.h"
#include "emulator/dpdk/control_thread.h"

namespace farspan::dpdk {
namespace {

constexpr TimeNs kDrainGrace{1'000'000'000};

int RunLoop(void* loop) {
  static_cast<LcoreLoop*>(loop)->run();
  return 0;
}

template <typename Condition>
bool WaitFor(Condition condition, TimeNs at_most) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::nanoseconds(at_most.ns);
  while (!condition()) {
    if (std::chrono::steady_clock::now() >= end) return false;
    std::this_thread::sleep_for(std::chrono::microseconds(200));
  }
  return true;
}

// While traffic flows, a reading is exact only in a pause between two packets: look for one.
PortReading SettledReading(const Port& port) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(1);
  PortReading reading = port.reading();
  while (!reading.settled() && std::chrono::steady_clock::now() < end) reading = port.reading();
  return reading;
}

int64_t UnixNsAt(const EngineClock& clock, TimeNs at) {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  const TimeNs engine_now = clock.now();
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec - (engine_now - at).ns;
}

}  // namespace

// --- Building --------------------------------------------------------------------------------

Result<std::unique_ptr<Engine>> Engine::Create(const config::EmulatorConfig& config,
                                               const EngineOptions& options) {
  std::unique_ptr<Engine> engine(new Engine(config, config::MakePlan(config)));
  if (auto runtime = engine->start_runtime(options); !runtime) {
    return tl::unexpected(runtime.error());
  }
  if (auto ports = engine->open_ports(); !ports) return tl::unexpected(ports.error());
  if (auto pipes = engine->build_pipes(); !pipes) return tl::unexpected(pipes.error());
  engine->build_pauses();
  engine->build_loops();
  if (auto capture = engine->start_capture(); !capture) return tl::unexpected(capture.error());
  engine->runtime_->memory_taken();
  return engine;
}

Engine::Engine(const config::EmulatorConfig& config, config::Plan plan)
    : config_(config), plan_(std::move(plan)), forwarder_(config) {}

Result<void> Engine::start_runtime(const EngineOptions& options) {
  RuntimeOptions runtime;
  runtime.need = NeedFor(config_, plan_);
  runtime.engine = config_.engine;
  runtime.lcores = plan_.lcores;
  for (const config::SiteSpec& site : config_.sites) {
    if (site.port.kind == config::PortKind::kPci) runtime.pci_devices.push_back(site.port.target);
  }
  runtime.eal_arguments = options.eal_arguments;
  runtime.reserve_hugepages = options.reserve_hugepages;
  auto started = Runtime::Start(runtime);
  if (!started) return tl::unexpected(started.error());
  runtime_ = std::move(*started);
  return {};
}

Result<void> Engine::open_ports() {
  uint64_t packets_per_s = 0;
  for (const config::DirectionPlan& direction : plan_.directions) {
    packets_per_s = std::max(packets_per_s, direction.packets_per_s);
  }
  for (size_t site = 0; site < config_.sites.size(); ++site) {
    PortOptions options;
    options.pool = runtime_->pool();
    options.mtu = config_.engine.mtu;
    options.packets_per_s = packets_per_s;
    options.clock = &clock();
    options.schedule = plan_.leads[site].lead.ns != 0;
    options.pauses = config_.sites[site].pause != config::PausePolicy::kPass ||
                     config::PfcTowards(config_, site).priorities != 0;
    auto port = Port::Open(config_.sites[site].port, options);
    if (!port) return tl::unexpected(port.error());
    ports_.push_back(std::make_unique<SitePort>(site, std::move(*port)));
    if (ports_[site]->port().can_schedule()) ports_[site]->set_lead(plan_.leads[site].lead);
  }
  return {};
}

Result<void> Engine::build_pipes() {
  const auto site_index = [&](const std::string& name) {
    const auto at = std::find_if(config_.sites.begin(), config_.sites.end(),
                                 [&](const config::SiteSpec& s) { return s.name == name; });
    FARSPAN_CHECK(at != config_.sites.end());
    return static_cast<size_t>(at - config_.sites.begin());
  };
  const TimeNs start = clock().now();
  for (const config::LinkSpec& link : config_.links) {
    for (uint32_t direction = 0; direction < 2; ++direction) {
      const auto number = static_cast<uint32_t>(pipes_.size());
      PipeSetup setup;
      setup.link = &link;
      setup.direction = direction;
      setup.number = number;
      setup.from = site_index(direction == 0 ? link.a : link.b);
      setup.to = site_index(direction == 0 ? link.b : link.a);
      setup.seed = config_.seed;
      setup.mtu = config_.engine.mtu;
      setup.capacity.packets = plan_.directions[number].held_packets;
      setup.ring_bytes = runtime_->memory().plan.byte_ring_bytes[number];
      setup.pool = runtime_->pool();
      setup.node = ports_[setup.to]->port().numa_node();
      setup.start = start;
      setup.ingress = &ports_[setup.from]->observations();
      setup.observer = observer_for(link, setup);
      auto pipe = Pipe::Create(setup);
      if (!pipe) return tl::unexpected(pipe.error());
      ports_[setup.to]->add_incoming(pipe->get());
      rule_books_.emplace_back(direction == 0 ? link.ab_rules : link.ba_rules,
                               [p = pipe->get()](uint8_t rule) { return p->rule_tally(rule); });
      pipes_.push_back(std::move(*pipe));
      specs_.push_back(direction == 0 ? link.ab : link.ba);
    }
  }
  for (size_t site = 0; site < config_.sites.size(); ++site) {
    if (!config_.sites[site].egress) continue;
    const config::EgressSpec& egress = *config_.sites[site].egress;
    uint64_t capacity = kBurst;
    for (const auto& pipe : pipes_) {
      if (pipe->setup().to == site) capacity += pipe->setup().capacity.packets;
    }
    ports_[site]->set_egress(std::make_unique<link::SiteEgress>(
        egress.queue, egress.rate, MakeStreamKey(config_.seed, config_.sites[site].name, 2),
        capacity));
  }
  return {};
}

// Both directions' where they share an lcore; else each direction has its own, and they are not
// matched.
LinkObserver* Engine::observer_for(const config::LinkSpec& link, const PipeSetup& setup) {
  if (!config_.engine.observer.enabled) return nullptr;
  const bool shared = loop_number(setup.from) == loop_number(setup.to);
  if (!shared || setup.direction == 0) {
    observers_.push_back(
        std::make_unique<LinkObserver>(config_.engine.observer, LeastRoundTrip(link.ab, link.ba)));
  }
  return observers_.back().get();
}

void Engine::build_pauses() {
  for (size_t site = 0; site < ports_.size(); ++site) {
    PauseSetup setup;
    setup.policy = config_.sites[site].pause;
    setup.pool = runtime_->pool();
    if (config_.sites[site].egress) setup.egress_rate = config_.sites[site].egress->rate;
    const config::PfcOfSite pfc = config::PfcTowards(config_, site);
    setup.quanta = pfc.quanta;
    setup.line_rate = pfc.line_rate;
    if (setup.policy == config::PausePolicy::kPass && pfc.priorities == 0) continue;
    SitePort& port = *ports_[site];
    auto pauses = std::make_unique<PausePort>(setup, &port.port(), &port.observations());
    for (const auto& pipe : pipes_) {
      if (pipe->setup().from != site || pfc.priorities == 0) continue;
      boards_.push_back(std::make_unique<PauseBoard>());
      pipe->link().tell_pauses_to(boards_.back().get());
      pauses->listen_to(boards_.back().get());
    }
    port.set_pauses(std::move(pauses));
  }
}

bool Engine::spins() const {
  if (config_.engine.idle != config::IdlePolicy::kAuto) {
    return config_.engine.idle == config::IdlePolicy::kSpin;
  }
  return CpusAtStart().size() >= runtime_->lcores().size() + 2;
}

void Engine::build_loops() {
  TimeNs longest{};
  for (const config::DirectionPlan& direction : plan_.directions) {
    longest = std::max(longest, direction.largest_delay);
  }
  const std::vector<unsigned>& lcores = runtime_->lcores();
  for (const unsigned lcore : lcores) {
    LcoreSetup setup;
    setup.cpu = static_cast<unsigned>(rte_lcore_to_cpu_id(static_cast<int>(lcore)));
    setup.spin = spins();
    setup.alone = lcores.size() == 1;
    setup.clock = &clock();
    setup.forwarder = &forwarder_;
    setup.phase = &phase_;
    setup.drain_at_most = longest + kDrainGrace;
    loops_.push_back(std::make_unique<LcoreLoop>(setup));
  }
  // Both directions of a wire share an lcore unless more were asked for.
  std::vector<SitePort*> ends;
  for (const auto& port : ports_) ends.push_back(port.get());
  for (size_t site = 0; site < ports_.size(); ++site) {
    loop_of_site_.push_back(loop_number(site));
    std::vector<Pipe*> routes(ports_.size(), nullptr);
    for (const auto& pipe : pipes_) {
      if (pipe->setup().from == site) routes[pipe->setup().to] = pipe.get();
    }
    loop_of_site(site).add_port(ports_[site].get(), std::move(routes), ends);
  }
  for (const auto& pipe : pipes_) loop_of_site(pipe->setup().to).add_pipe(pipe.get());
}

Result<void> Engine::start_capture() {
  if (config_.engine.capture.file.empty()) return {};
  CaptureOptions options;
  options.path = config_.engine.capture.file;
  options.snap_bytes = config_.engine.capture.snap_bytes;
  options.max_bytes = config_.engine.capture.max_bytes;
  options.producers = static_cast<uint32_t>(loops_.size());
  options.unix_ns_at_zero = UnixNsAt(clock(), TimeNs{});
  for (const config::SiteSpec& site : config_.sites) {
    options.interfaces.push_back({.name = site.name, .description = site.port.text});
  }
  auto capture = CaptureWriter::Create(options);
  if (!capture) return tl::unexpected(capture.error());
  capture_ = std::move(*capture);
  for (size_t site = 0; site < ports_.size(); ++site) {
    CaptureProducer* producer = &capture_->producer(loop_of_site_[site]);
    ports_[site]->capture_with(producer);
    for (const auto& pipe : pipes_) {
      if (pipe->setup().to == site) pipe->capture_with(producer);
    }
  }
  capture_thread_ = StartControlThread("farspan-capture",
                                       [this](std::stop_token stop) { (void)capture_->run(stop); });
  return {};
}

// --- Running ---------------------------------------------------------------------------------

Result<void> Engine::start() {
  const std::vector<unsigned>& lcores = runtime_->lcores();
  for (size_t i = 0; i < loops_.size(); ++i) {
    if (rte_eal_remote_launch(RunLoop, loops_[i].get(), lcores[i]) != 0) {
      return Fail(ErrorCode::kMachine, fmt::format("lcore {} would not start", lcores[i]));
    }
  }
  running_ = true;
  for (const auto& loop : loops_) {
    if (!WaitFor([&] { return loop->measured(); }, TimeNs{10'000'000'000})) {
      return Fail(ErrorCode::kMachine,
                  fmt::format("CPU {} gave the engine no time to start", loop->cpu()));
    }
  }
  for (const auto& port : ports_) port->port().start_counting();
  started_ = clock().now();
  phase_.store(Phase::kRun, std::memory_order_release);
  return {};
}

void Engine::stop() {
  if (!running_) return;
  if (phase_.load() == Phase::kRun) close_books();
  phase_.store(Phase::kEnd, std::memory_order_release);
  rte_eal_mp_wait_lcore();
  running_ = false;
  if (capture_thread_.joinable()) {
    capture_thread_.request_stop();
    capture_thread_.join();
  }
}

// What arrives after the books are closed is not this run's; what was held still leaves.
void Engine::close_books() {
  for (const auto& port : ports_) closing_.push_back(SettledReading(port->port()));
  phase_.store(Phase::kDrain, std::memory_order_release);
  for (const auto& loop : loops_) {
    WaitFor([&] { return loop->drained(); }, TimeNs{60'000'000'000});
  }
  stopped_ = clock().now();
  for (size_t site = 0; site < ports_.size(); ++site) {
    const PortReading last = ports_[site]->port().reading();
    PortReading& closing = closing_[site];
    closing.rx_packets = last.rx_packets;
    closing.rx_bytes = last.rx_bytes;
    closing.tx_packets = last.tx_packets;
    closing.tx_bytes = last.tx_bytes;
    closing.tx_errors = last.tx_errors;
    closing.pace_errors = last.pace_errors;
    closing.own_oversize = last.own_oversize;
    closing.own_unsent = last.own_unsent;
    closing.own_unsent_bound = last.own_unsent_bound;
  }
  phase_.store(Phase::kMeasureAfter, std::memory_order_release);
  for (const auto& loop : loops_) {
    WaitFor([&] { return loop->done(); }, TimeNs{60'000'000'000});
  }
  const std::lock_guard lock(control_);
  finished_ = true;
}

Engine::~Engine() { stop(); }

TimeNs Engine::uptime() const { return (finished_ ? stopped_ : clock().now()) - started_; }

RunRecord Engine::record() const {
  const std::lock_guard lock(control_);
  RunRecord record;
  record.duration = uptime();
  record.seed = config_.seed;
  record.finished = finished_;
  record.clock = clock().quality();
  record.budgets = config_.engine.budgets;
  for (const auto& loop : loops_) {
    LcoreRecord lcore;
    lcore.cpu = loop->cpu();
    lcore.spins = loop->spins();
    lcore.loop = &loop->loop_times();
    if (loop->measured()) lcore.before = loop->gaps_before();
    if (loop->done()) lcore.after = loop->gaps_after();
    record.lcores.push_back(lcore);
  }
  for (size_t site = 0; site < ports_.size(); ++site) {
    const SitePort& port = *ports_[site];
    const config::PfcOfSite pfc = config::PfcTowards(config_, site);
    record.ports.push_back(
        {.name = port.port().name(),
         .site = config_.sites[site].name,
         .kind = config_.sites[site].port.kind,
         .left = port.left_at(),
         .lead = port.lead(),
         .lcore = loop_of_site_[site],
         .pause_priorities = pfc.priorities,
         .pause_gap = pfc.poll_gap,
         .heeds_pauses = config_.sites[site].pause == config::PausePolicy::kConsume,
         .stamps = port.port().stamps_text(),
         .reading = finished_ ? closing_[site] : port.port().reading(),
         .seen = &port.observations()});
  }
  for (const auto& pipe : pipes_) {
    const PipeSetup& setup = pipe->setup();
    record.directions.push_back({.link = setup.link->name,
                                 .direction = std::string(pipe->direction_text()),
                                 .from = config_.sites[setup.from].name,
                                 .to = config_.sites[setup.to].name,
                                 .counters = pipe->published(),
                                 .rdma = pipe->published_rdma(),
                                 .rules = rule_books_[setup.number].records()});
  }
  return record;
}

std::optional<CaptureCounts> Engine::capture_counts() const {
  if (capture_ == nullptr) return std::nullopt;
  CaptureCounts sum;
  for (size_t site = 0; site < ports_.size(); ++site) {
    const CaptureCounts counts = capture_->counts(site);
    sum.offered += counts.offered;
    sum.lost += counts.lost;
    sum.written += counts.written;
  }
  return sum;
}

}  // namespace farspan::dpdk
