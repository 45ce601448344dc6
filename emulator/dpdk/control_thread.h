// Threads beside the lcores: unpinned, deaf to signals.
//
// A thread inherits its creator's affinity; one created by a pinned lcore would share that lcore's
// core and make it late. These run on every CPU that the process had at its start, and leave
// SIGINT and SIGTERM to the main thread.
#pragma once

#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "emulator/base/time.h"

namespace farspan::dpdk {

// CPUs that the process was allowed to use when it started, ascending.
const std::vector<int>& CpusAtStart();

// Joins (after asking to stop) on destruction, as std::jthread does. `name` shows in ps -L, cut to
// 15 characters.
std::jthread StartControlThread(const std::string& name,
                                std::function<void(std::stop_token)> function);

// For loops of such threads: sleeps, returns false at once when asked to stop.
bool SleepUnlessStopped(const std::stop_token& stop, TimeNs time);

}  // namespace farspan::dpdk
