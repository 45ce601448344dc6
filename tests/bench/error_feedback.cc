// The losses of the training problem (tests/support/training.h) as JSON: exact, and quantised
// between the sites with and without error feedback. docs/plots/error_feedback.py draws them.
#include <cstdio>
#include <nlohmann/json.hpp>

#include "tests/support/training.h"

int main() {
  using farspan::test::Feedback;
  using farspan::test::Train;
  using farspan::testbed::Compression;
  nlohmann::json curves = nlohmann::json::array();
  const auto add = [&](const char* name, Compression compression, Feedback feedback) {
    const auto training = Train({.compression = compression, .feedback = feedback});
    curves.push_back(
        {{"name", name}, {"wan_bytes_per_step", training.wan_bytes}, {"loss", training.losses}});
  };
  add("exact", Compression::kNone, Feedback::kNone);
  add("fp8", Compression::kFp8, Feedback::kNone);
  add("fp8, error feedback", Compression::kFp8, Feedback::kFull);
  add("int8", Compression::kInt8, Feedback::kNone);
  add("int8, error feedback", Compression::kInt8, Feedback::kFull);
  const nlohmann::json out{
      {"schema", "farspan.error_feedback.v1"}, {"label", "virtual"}, {"curves", curves}};
  std::printf("%s\n", out.dump().c_str());
}
