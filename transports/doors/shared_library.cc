#include "transports/doors/shared_library.h"

#include <dlfcn.h>
#include <unistd.h>

namespace farspan::doors {

Result<SharedLibrary> SharedLibrary::Open(const std::string& path) {
  const bool here = path.find('/') == std::string::npos && access(path.c_str(), R_OK) == 0;
  const std::string found = here ? "./" + path : path;
  void* handle = dlopen(found.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    return Fail(ErrorCode::kInvalid, std::string("the library cannot be loaded: ") + dlerror());
  }
  return SharedLibrary(found, handle);
}

const void* SharedLibrary::find(const char* symbol) const { return dlsym(handle_, symbol); }

}  // namespace farspan::doors
