// Engine: an emulator that runs: EAL, ports, pipes, lcores, clock and capture, from a
// configuration.
//
// Create() plans memory, refuses what the machine cannot hold, and opens everything; start()
// measures the machine's gaps, opens the books and polls; stop() closes the books, drains, measures
// again. The destructor gives everything back.
//
// Threads: Create, start, stop and the destructor on the main thread; the rest from any control
// thread between start() and stop().
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "emulator/base/result.h"
#include "emulator/config/plan.h"
#include "emulator/config/schema.h"
#include "emulator/dpdk/lcore_loop.h"
#include "emulator/dpdk/pcapng_writer.h"
#include "emulator/dpdk/rule_book.h"
#include "emulator/dpdk/run_record.h"
#include "emulator/dpdk/runtime.h"

namespace farspan::dpdk {

struct EngineOptions {
  std::vector<std::string> eal_arguments;  // after --
  bool reserve_hugepages = false;          // for this run; given back on every way out
};

class Engine {
 public:
  static Result<std::unique_ptr<Engine>> Create(const config::EmulatorConfig& config,
                                                const EngineOptions& options);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  Result<void> start();
  void stop();  // at most the largest delay and a second

  const config::EmulatorConfig& config() const { return config_; }
  const config::Plan& plan() const { return plan_; }
  const std::string& memory_note() const { return runtime_->memory().note; }
  TimeNs uptime() const;
  const EngineClock& clock() const { return runtime_->clock(); }
  // With counters of one instant per direction; complete (`finished`) after stop().
  RunRecord record() const;
  // As it is now, after live changes (rules apart); `number` counts a link's ab, then its ba, link
  // by link.
  link::DirectionSpec direction_spec(size_t number) const;
  std::optional<CaptureCounts> capture_counts() const;

  // The queue pairs that a link's observer follows, both directions.
  Result<std::vector<roce::QpSnapshot>> queue_pairs(std::string_view link) const;

  // Takes effect at the returned engine time. `direction`: 0 a to b, 1 b to a, empty both.
  // kNotFound for an unknown link; kConflict where it would hold more than was planned.
  Result<TimeNs> change(std::string_view link, std::optional<uint32_t> direction,
                        const std::vector<link::Change>& changes);
  Result<TimeNs> start_epoch();
  // Of one direction: a rule more, at the end of the list; without the one named, or
  // without any.
  Result<TimeNs> add_rule(std::string_view link, uint32_t direction, const config::Rule& rule);
  Result<TimeNs> remove_rule(std::string_view link, uint32_t direction,
                             const std::optional<std::string>& name);

 private:
  Engine(const config::EmulatorConfig& config, config::Plan plan);

  Result<void> start_runtime(const EngineOptions& options);
  Result<void> open_ports();
  Result<void> build_pipes();
  LinkObserver* observer_for(const config::LinkSpec& link, const PipeSetup& setup);
  void build_pauses();
  void build_loops();
  Result<void> start_capture();
  bool spins() const;
  Result<void> check_headroom(size_t number, const link::DirectionSpec& spec) const;
  Result<size_t> first_number(std::string_view link) const;
  Result<TimeNs> apply(size_t number, const std::vector<link::Change>& changes);
  void update_round_trip(size_t number);  // of a link's observers, after a change
  size_t loop_number(size_t site) const { return site % runtime_->lcores().size(); }
  Result<TimeNs> apply(size_t number, RuleBook::Edit edit);
  Result<void> prepare(const Pipe& pipe, const link::Change& change, PipeChange& prepared) const;
  Result<TimeNs> send(size_t number, PipeChange change);
  LcoreLoop& loop_of_site(size_t site) { return *loops_[loop_of_site_[site]]; }
  void close_books();

  const config::EmulatorConfig config_;
  const config::Plan plan_;
  std::unique_ptr<Runtime> runtime_;
  Forwarder forwarder_;
  std::vector<std::unique_ptr<LinkObserver>> observers_;
  std::vector<std::unique_ptr<PauseBoard>> boards_;  // of pipes with PFC
  std::vector<std::unique_ptr<Pipe>> pipes_;         // [2 x link + direction]
  std::vector<std::unique_ptr<SitePort>> ports_;     // [site]
  std::unique_ptr<CaptureWriter> capture_;
  std::vector<std::unique_ptr<LcoreLoop>> loops_;  // [polling lcore]
  std::vector<size_t> loop_of_site_;
  std::atomic<Phase> phase_{Phase::kMeasureBefore};
  std::jthread capture_thread_;

  mutable std::mutex control_;  // one command at a time, and what follows
  std::vector<link::DirectionSpec> specs_;
  std::vector<RuleBook> rule_books_;                      // as pipes_
  std::vector<std::unique_ptr<LcoreCommand>> abandoned_;  // sent, and not answered in time
  TimeNs started_{};
  TimeNs stopped_{};
  bool running_ = false;
  bool finished_ = false;
  std::vector<PortReading> closing_;  // [site]
};

// `spec` as it will be after `change`.
void ApplyTo(link::DirectionSpec& spec, const link::Change& change);

}  // namespace farspan::dpdk
