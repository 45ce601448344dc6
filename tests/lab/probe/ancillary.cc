#include "tests/lab/probe/ancillary.h"

#include <netinet/in.h>
#include <time.h>

#include <cstring>

#include "tests/lab/probe/packet.h"

namespace farspan::probe {
namespace {

template <typename T>
T ReadControl(const cmsghdr* header) {
  T value;
  std::memcpy(&value, CMSG_DATA(header), sizeof(value));
  return value;
}

int64_t Nanoseconds(const timespec& time) { return time.tv_sec * 1'000'000'000 + time.tv_nsec; }

}  // namespace

Ancillary ReadAncillary(msghdr& message) {
  Ancillary result;
  for (cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr; c = CMSG_NXTHDR(&message, c)) {
    if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TOS) {
      result.tos = ReadControl<uint8_t>(c);
    } else if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_TIMESTAMPNS) {
      result.realtime_ns = Nanoseconds(ReadControl<timespec>(c));
    }
  }
  return result;
}

int64_t ClockPair::arrival_ns(const Ancillary& ancillary) const {
  return ancillary.realtime_ns ? now_ns - (realtime_ns - *ancillary.realtime_ns) : now_ns;
}

ClockPair NowOnBothClocks() {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  return {.realtime_ns = Nanoseconds(now), .now_ns = NowNs()};
}

}  // namespace farspan::probe
