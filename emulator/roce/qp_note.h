// QpNote: what the observer says of a packet as it enters a link, for whoever matches on it.
//
// QpObserver::ingress() fills it from what it has seen of the queue pair before. Where no observer
// runs, NoteOf() gives what the packet alone says. Plain data.
#pragma once

#include <cstdint>

#include "emulator/roce/roce_view.h"

namespace farspan::roce {

inline constexpr uint32_t kNoQueuePair = UINT32_MAX;

struct QpNote {
  uint32_t entry = kNoQueuePair;  // in the observer's table; kNoQueuePair: not followed
  uint32_t dest_qp = 0;
  uint32_t src_qp =
      0;  // the sender's own, where it is known: of datagrams, and once matched; else 0
  uint32_t psn = 0;
  OpcodeClass opcode_class = OpcodeClass::kNone;  // kNone: no RoCEv2 packet, nothing else is set
  AckKind ack = AckKind::kNone;
  Position position = Position::kOnly;
  bool retransmission = false;  // this PSN entered the link before
  // Messages are counted from 1 as their first packets enter, those of requests (SEND, WRITE, READ
  // request, ATOMIC) and those of READ and ATOMIC responses each on their own. 0 where it is not
  // known: a retransmission of more than the last 8 messages, a message whose start was not seen.
  uint64_t message = 0;
  uint32_t index = 0;  // of the packet in its message, from 0; meaningless without `message`

  bool last_of_message() const { return EndsMessage(position); }
};

// Of the packet alone: `entry`, `retransmission`, `message` and `index` are not known.
inline QpNote NoteOf(const RoceView& roce) {
  QpNote note;
  if (roce.fault != RoceFault::kNone) return note;
  note.dest_qp = roce.dest_qp;
  note.src_qp = roce.src_qp;
  note.psn = roce.psn;
  note.opcode_class = roce.opcode_class;
  note.ack = roce.ack;
  note.position = roce.position;
  return note;
}

}  // namespace farspan::roce
