#include "emulator/dpdk/control_thread.h"

#include <pthread.h>
#include <sched.h>

#include <chrono>
#include <condition_variable>
#include <csignal>
#include <mutex>
#include <utility>

namespace farspan::dpdk {
namespace {

cpu_set_t ReadAffinity() {
  cpu_set_t set;
  CPU_ZERO(&set);
  sched_getaffinity(0, sizeof(set), &set);
  return set;
}

// Taken before main(), hence before anything could pin the main thread.
const cpu_set_t kAffinityAtStart = ReadAffinity();

std::vector<int> ToList(const cpu_set_t& set) {
  std::vector<int> cpus;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &set)) cpus.push_back(cpu);
  }
  return cpus;
}

}  // namespace

const std::vector<int>& CpusAtStart() {
  static const std::vector<int> cpus = ToList(kAffinityAtStart);
  return cpus;
}

std::jthread StartControlThread(const std::string& name,
                                std::function<void(std::stop_token)> function) {
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  std::jthread thread(
      [name = name.substr(0, 15), function = std::move(function)](std::stop_token stop) {
        pthread_setaffinity_np(pthread_self(), sizeof(kAffinityAtStart), &kAffinityAtStart);
        pthread_setname_np(pthread_self(), name.c_str());
        function(std::move(stop));
      });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return thread;
}

bool SleepUnlessStopped(const std::stop_token& stop, TimeNs time) {
  std::mutex mutex;
  std::condition_variable_any wake;
  std::unique_lock lock(mutex);
  wake.wait_for(lock, stop, std::chrono::nanoseconds(time.ns), [] { return false; });
  return !stop.stop_requested();
}

}  // namespace farspan::dpdk
