#include "transports/doors/open_library.h"

#include <fmt/format.h>

#include "transports/doors/abi_transport.h"
#include "transports/doors/nccl_transport.h"
#include "transports/doors/shared_library.h"

namespace farspan::doors {

Result<OpenedLibrary> OpenLibrary(const std::string& path, const DoorConfig& config) {
  const auto library = SharedLibrary::Open(path);
  if (!library) return tl::unexpected(library.error());
  OpenedLibrary opened;
  if (const void* ops = library->find("farspan_transport_plugin"); ops != nullptr) {
    auto made = AbiTransport::Open(*static_cast<const farspan_transport_ops*>(ops), library->path(),
                                   config);
    if (!made) return tl::unexpected(made.error());
    opened.transport = std::move(*made);
    opened.door = fmt::format("farspan_transport.h version {}", FARSPAN_TRANSPORT_ABI);
    return opened;
  }
  if (config.local_asked) {
    return Fail(ErrorCode::kInvalid,
                "an NCCL plugin chooses its address itself, by its own environment variables "
                "(NCCL_SOCKET_IFNAME, FARSPAN_LOCAL, ...)",
                "--local");
  }
  const auto options = ParseNcclOptions(config.options);
  if (!options) return tl::unexpected(options.error());
  auto net = FindNcclNet(*library, options->version);
  if (!net) return tl::unexpected(net.error());
  opened.door = fmt::format("ncclNetPlugin_v{}", (*net)->version());
  opened.is_nccl = true;
  auto made = NcclTransport::Open(std::move(*net), library->path(), options->device);
  if (!made) return tl::unexpected(made.error());
  opened.transport = std::move(*made);
  return opened;
}

}  // namespace farspan::doors
