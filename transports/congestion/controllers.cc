#include "transports/congestion/controllers.h"

namespace farspan::transport {

void RegisterControllers() {
  RegisterController("cubic", MakeCubic);
  RegisterController("cubic-linux", MakeLinuxCubic);
  RegisterController("bbr", MakeBbr);
  RegisterController("swift", MakeSwift);
  RegisterController("dcqcn", MakeDcqcn);
}

}  // namespace farspan::transport
