#include "transports/doors/policy_library.h"

#include "transports/core/policies.h"
#include "transports/doors/shared_library.h"

namespace farspan::doors {

Result<void> LoadPolicies(const std::string& path) {
  const auto library = SharedLibrary::Open(path);
  if (!library) return tl::unexpected(library.error());
  const void* entry = library->find("farspan_register_policies");
  if (entry == nullptr) {
    return Fail(
        ErrorCode::kInvalid,
        "the library has no function farspan_register_policies (transports/core/policies.h)", path);
  }
  using Register = void (*)(const transport::PolicyRegistrar&);
  reinterpret_cast<Register>(const_cast<void*>(entry))({});
  return {};
}

}  // namespace farspan::doors
