// EngineView: the engine as the control plane sees it.
#pragma once

#include "emulator/control/engine_control.h"
#include "emulator/dpdk/engine.h"

namespace farspan::dpdk {

class EngineView final : public control::EngineControl {
 public:
  explicit EngineView(Engine& engine) : engine_(engine) {}

  control::EngineSnapshot snapshot() const override;
  Result<control::Applied> change(std::string_view link,
                                  std::optional<control::Direction> direction,
                                  const std::vector<link::Change>& changes) override;
  Result<control::Applied> add_rule(std::string_view link, control::Direction direction,
                                    const config::Rule& rule) override;
  Result<control::Applied> remove_rule(std::string_view link, control::Direction direction,
                                       const std::optional<std::string>& name) override;
  Result<control::Applied> start_epoch() override;
  Result<std::vector<roce::QpSnapshot>> queue_pairs(std::string_view link) override;
  std::string certificate() const override;

 private:
  Engine& engine_;
};

}  // namespace farspan::dpdk
