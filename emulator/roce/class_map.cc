#include "emulator/roce/class_map.h"

#include <optional>
#include <span>
#include <string>

namespace farspan::roce {

namespace {

// Writes `index` for each of the code points; what is wrong, if anything.
std::optional<std::string> Claim(std::span<uint8_t> table, std::span<bool> claimed,
                                 const std::vector<uint8_t>& points, uint8_t index,
                                 const char* what) {
  for (const uint8_t point : points) {
    const std::string name = what + (" " + std::to_string(point));
    if (point >= table.size()) {
      return name + " is out of range: expected 0 to " + std::to_string(table.size() - 1);
    }
    if (claimed[point]) return name + " is claimed twice: give it to one class";
    claimed[point] = true;
    table[point] = index;
  }
  return std::nullopt;
}

}  // namespace

Result<ClassMap> ClassMap::Create(const link::BottleneckSpec& spec, bool bypass_unmatched) {
  if (spec.classes.empty() || spec.classes.size() >= kBypass) {
    return Fail(ErrorCode::kInvalid, "a bottleneck has 1 to 254 classes");
  }
  const uint8_t otherwise = bypass_unmatched ? kBypass : 0;
  const link::ClassSpec& default_class = spec.classes.front();
  const bool takes_ip = default_class.dscp.empty() && default_class.pcp.empty();

  ClassMap map;
  map.by_dscp_.fill(takes_ip ? 0 : otherwise);
  map.by_pcp_.fill(otherwise);
  map.otherwise_ = otherwise;
  std::array<bool, 64> dscp_claimed{};
  std::array<bool, 8> pcp_claimed{};
  for (size_t i = 0; i < spec.classes.size(); ++i) {
    const link::ClassSpec& c = spec.classes[i];
    const auto index = static_cast<uint8_t>(i);
    auto wrong = Claim(map.by_dscp_, dscp_claimed, c.dscp, index, "dscp");
    if (!wrong) wrong = Claim(map.by_pcp_, pcp_claimed, c.pcp, index, "pcp");
    if (wrong) return Fail(ErrorCode::kInvalid, *wrong, "class \"" + c.name + "\"");
  }
  return map;
}

}  // namespace farspan::roce
