// Every example configuration loads, plans, and builds its links.

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <vector>

#include "emulator/config/loader.h"
#include "emulator/config/plan.h"
#include "emulator/link/link.h"

namespace farspan::config {
namespace {

std::vector<std::filesystem::path> Examples() {
  std::vector<std::filesystem::path> files;
  for (const auto& entry :
       std::filesystem::directory_iterator(FARSPAN_SOURCE_DIR "/traces/links")) {
    if (entry.path().extension() == ".toml") files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

TEST(ConfigExamples, AllLoadPlanAndBuild) {
  const std::vector<std::filesystem::path> files = Examples();
  EXPECT_GE(files.size(), 6u);
  for (const auto& file : files) {
    const auto config = LoadFile(file);
    ASSERT_TRUE(config) << config.error().text();
    const Plan plan = MakePlan(*config);
    EXPECT_EQ(plan.directions.size(), 2 * config->links.size()) << file;
    EXPECT_NE(PlanText(*config, plan, {}).find("one way"), std::string::npos);
    for (const LinkSpec& link : config->links) {
      for (const link::DirectionSpec* spec : {&link.ab, &link.ba}) {
        const auto built = link::Link::Create(*spec, {}, {.packets = 1024}, TimeNs{});
        EXPECT_TRUE(built) << file << ": " << built.error().text();
      }
    }
  }
}

TEST(ConfigExamples, TheMeshHasItsOwnDistanceForEachPair) {
  const auto config =
      LoadFile(std::filesystem::path(FARSPAN_SOURCE_DIR "/traces/links") / "five-sites-mesh.toml");
  ASSERT_TRUE(config) << config.error().text();
  ASSERT_EQ(config->links.size(), 10u);
  std::vector<TimeNs> delays;
  for (const DirectionPlan& direction : MakePlan(*config).directions) {
    EXPECT_FALSE(direction.source.empty()) << direction.link;
    if (direction.direction == "ab") delays.push_back(direction.lanes[0].delay);
  }
  std::sort(delays.begin(), delays.end());
  EXPECT_EQ(std::adjacent_find(delays.begin(), delays.end()), delays.end());
}

}  // namespace
}  // namespace farspan::config
