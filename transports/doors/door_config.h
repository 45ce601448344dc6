// What a transport behind a door is told when it is opened.
#pragma once

#include <string>

#include "emulator/base/time.h"

namespace farspan::doors {

struct DoorConfig {
  std::string local;    // numeric address by which the peers reach this rank
  std::string options;  // what the user wrote after --transport-options
  TimeNs timeout{30'000'000'000};
  bool local_asked = false;  // the user chose `local`; a door that cannot use it refuses
};

}  // namespace farspan::doors
