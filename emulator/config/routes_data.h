// The route library's CSV files as they were when this was built.
#pragma once

#include <string_view>

namespace farspan::config {

extern const std::string_view kMetrosCsv;
extern const std::string_view kSegmentsCsv;

}  // namespace farspan::config
