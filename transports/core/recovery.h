// Recovery: what is sent again, what is sent in advance, and when a packet counts as lost.
//
// One object per sending connection; one file each, registered by name: gbn, sr, ec, auto. The
// connection keeps all per-packet state and does the work; a policy only answers questions, so it
// is short:
//
//   in_order()      whether the receiver throws away what is not next (go-back-N), told to it in
//                   the handshake; such connections use one path
//   plan_group()    before datagrams that have not been sent yet: how to code the next of them
//   loss_delay()    how long after the first report of a gap a packet counts as lost
//   timeout()       how long a packet of which nothing is heard is waited for
//   on_lost()       a packet counts as lost: send it again, go back, or leave it to parity
//
// Whatever a policy says, the connection does not declare a packet lost before one measured RTT
// after its departure, unless the policy may_hurry(); no recovery here does.
//
// Units: datagrams, TimeNs, probabilities as fractions. Threading: one thread. Nothing allocates.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "emulator/base/result.h"
#include "emulator/base/time.h"

namespace farspan::transport {

// What the connection has seen of its paths.
struct PathView {
  TimeNs smoothed_rtt{};
  TimeNs rtt_variation{};
  TimeNs min_rtt{};
  TimeNs reordering{};  // how late a reported gap was filled at worst, recently
};

// The send queue when a group of datagrams is about to leave for the first time.
struct QueueView {
  uint32_t message_datagrams = 0;  // of all of this message
  uint32_t message_left = 0;       // not sent yet, the next one included
  TimeNs until_dry{};              // time to send everything queued at the present rate
  TimeNs smoothed_rtt{};
  double loss = 0;     // upper bound of the loss estimate, see loss_estimate.h
  uint32_t burst = 1;  // packets lost in a row that are to be expected
};

// The next blocks * data datagrams, interleaved: block b has datagrams b, b + blocks, b + 2 blocks…
// of the group, and `parity` datagrams of its own that leave after the group. parity 0: uncoded.
struct GroupPlan {
  uint32_t blocks = 1;
  uint32_t data = 128;
  uint32_t parity = 0;
};

struct LostPacket {
  uint64_t number = 0;       // on its path
  uint64_t next_number = 0;  // of the packet that will be sent next on that path
  TimeNs until_dry{};
  TimeNs smoothed_rtt{};
  bool needed = true;     // false: the receiver has it, or its message, by other means
  bool again = false;     // it had been sent in place of one that was lost
  double loss = 0;        // upper bound of its path's loss estimate
  uint64_t inflight = 0;  // datagrams, of the connection
};

struct LossAction {
  bool go_back = false;  // send the first datagram that is missing, and all after it, again
  uint32_t copies = 0;   // send this datagram again, this many times; 0: leave it
};

struct RecoveryConfig {
  uint32_t block_data = 128;      // k
  double fallback_target = 1e-4;  // probability per message that parity does not suffice
};

class Recovery {
 public:
  virtual ~Recovery() = default;
  virtual bool in_order() const { return false; }
  virtual GroupPlan plan_group(const QueueView& queue) = 0;
  virtual TimeNs loss_delay(const PathView& path) const = 0;
  // `usual`: smoothed RTT, the longest delay of an ACK, as much again where more packets followed
  // (their ACK says it too, should that one be lost), and four variations.
  virtual TimeNs timeout(const PathView& /*path*/, TimeNs usual) const { return usual; }
  // With needed false the answer counts only where it goes back.
  virtual LossAction on_lost(const LostPacket& packet) = 0;
  virtual bool may_hurry() const { return false; }
};

using RecoveryPtr = std::unique_ptr<Recovery>;
using RecoveryFactory = RecoveryPtr (*)(const RecoveryConfig& config);

// As with controllers: gbn, sr, ec and auto are there from the start.
void RegisterRecovery(std::string_view name, RecoveryFactory factory);
Result<RecoveryFactory> FindRecovery(std::string_view name);
std::vector<std::string_view> RecoveryNames();

}  // namespace farspan::transport
