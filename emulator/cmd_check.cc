// farspan-emulator check: what a configuration comes to, without ports or privileges.
#include <fmt/core.h>

#include "emulator/commands.h"
#include "emulator/config/plan.h"
#include "emulator/config_source.h"
#ifdef FARSPAN_HAS_DPDK
#include "emulator/dpdk/config_memory.h"
#include "emulator/dpdk/memory_plan.h"
#endif

namespace farspan {
namespace {

constexpr const char* kUsage =
    "Usage: farspan-emulator check --config FILE [OPTIONS]\n"
    "       farspan-emulator check --wire A,B (--distance D | --delay T | --rtt T | --route R)\n"
    "                              [OPTIONS]\n\n"
    "Prints the resolved plan: delay term by term, loss by frame size, bandwidth-delay product,\n"
    "packets held and memory. Exits with 2 for a bad configuration, 3 if it does not fit this\n"
    "machine's memory.\n\n";

config::MemoryReport AskMachine([[maybe_unused]] const config::EmulatorConfig& config,
                                [[maybe_unused]] const config::Plan& plan) {
  config::MemoryReport report;
#ifdef FARSPAN_HAS_DPDK
  const dpdk::MemoryNeed need = dpdk::NeedFor(config, plan);
  const auto choice =
      dpdk::ChooseMemory(need, dpdk::Limited(dpdk::ReadMachineMemory(), config.engine));
  const dpdk::MemoryPlan memory = choice ? choice->plan : dpdk::PlanMemory(need);
  report.known = true;
  report.fits = choice.has_value();
  report.message = choice ? choice->note : choice.error().message;
  report.hugepages = choice && choice->hugepages;
  report.mbufs = memory.mbufs;
  report.eal_bytes = memory.eal_bytes;
  report.heap_bytes = memory.heap_bytes;
#endif
  return report;
}

}  // namespace

int CmdCheck(const std::vector<std::string>& args) {
  cli::Options options;
  options.usage = kUsage;
  AddConfigOptions(options);
  options.visible.add_options()("json", "machine output, schema farspan.plan.v1");
  bool help = false;
  const auto values = cli::Parse(options, args, help);
  if (!values) return cli::Report(values.error());
  if (help) return cli::kExitGood;
  const auto config = ReadConfig(*values);
  if (!config) return cli::Report(config.error());
  const config::Plan plan = config::MakePlan(*config);
  const config::MemoryReport memory = AskMachine(*config, plan);
  const bool json = values->count("json") != 0;
  fmt::print("{}", json ? PlanJson(*config, plan, memory) : PlanText(*config, plan, memory));
  if (memory.fits) return cli::kExitGood;
  return cli::Report({ErrorCode::kMachine, memory.message, "memory"});
}

}  // namespace farspan
