// The status page, status.html as the build found it. NONCE stands where its script and its style
// need the nonce of the response's Content-Security-Policy.
#pragma once

#include <string_view>

namespace farspan::control {
extern const std::string_view kStatusPage;
}  // namespace farspan::control
