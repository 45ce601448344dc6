#include "transports/nccl_tests_options.h"

#include <fmt/format.h>

namespace farspan {
namespace {

namespace po = boost::program_options;

struct Foreign {
  const char* option;  // as Boost writes it
  uint32_t taken;
  const char* instead;
};

constexpr Foreign kForeign[] = {{"nthreads,t", 1, "ranks are processes: --world"},
                                {"ngpus,g", 1, "ranks are processes: --world"},
                                {"parallel_init,p", 0, "there is no NCCL to initialise"},
                                {"run_cycles,N", 1, "run it again"},
                                {"blocking,z", 0, "iterations follow each other at once"},
                                {"cudagraph,G", 0, "there is no GPU"},
                                {"report_cputime,C", 0, "farspan compare --real reports CPU time"},
                                {"local_register,R", 0, "buffers are always registered"},
                                {"device_implementation,D", 0, "there is no GPU"},
                                {"memory,M", 0, "there is no GPU"},
                                {"unalign,u", 0, "buffers are aligned"},
                                {"report_timestamps,S", 0, "--json has every iteration"}};

}  // namespace

void AddNcclTestsOptions(cli::Options& options) {
  for (const Foreign& one : kForeign) {
    options.hidden.add_options()(one.option, po::value<uint32_t>()->default_value(one.taken), "");
    const std::string_view option = one.option;
    const std::string name(option.substr(0, option.find(',')));
    options.rules.push_back({name, [&one, name](const po::variables_map& values) -> std::string {
                               if (values[name].as<uint32_t>() == one.taken) return {};
                               return fmt::format("is nccl-tests' and taken at {} only: {}",
                                                  one.taken, one.instead);
                             }});
  }
}

}  // namespace farspan
