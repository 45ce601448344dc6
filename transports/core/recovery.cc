#include "transports/core/recovery.h"

#include "transports/core/recoveries.h"
#include "transports/core/registry.h"

namespace farspan::transport {
namespace {

Registry<RecoveryFactory>& Recoveries() {
  static Registry<RecoveryFactory> registry("recovery", {{"gbn", &MakeGoBackN},
                                                         {"sr", &MakeSelectiveRepeat},
                                                         {"ec", &MakeErasureCoded},
                                                         {"auto", &MakeAuto}});
  return registry;
}

}  // namespace

void RegisterRecovery(std::string_view name, RecoveryFactory factory) {
  Recoveries().add(name, factory);
}

Result<RecoveryFactory> FindRecovery(std::string_view name) { return Recoveries().find(name); }

std::vector<std::string_view> RecoveryNames() { return Recoveries().names(); }

}  // namespace farspan::transport
