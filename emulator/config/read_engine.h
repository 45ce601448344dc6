// Reader of [engine]. Internal to emulator/config.
#pragma once

#include "emulator/config/schema.h"
#include "emulator/config/section.h"

namespace farspan::config {

void ReadEngine(Section section, EngineSpec& engine);

}  // namespace farspan::config
