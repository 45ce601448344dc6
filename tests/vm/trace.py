"""The engine's capture as tshark decodes it: what the hosts sent, what they got, what was lost.

An account of its own, to hold the engine's counters and its observer against.
"""

import dataclasses

from lab import measure

FIELDS = ("frame.interface_name", "frame.time_epoch", "ip.src", "infiniband.bth.opcode",
          "infiniband.bth.destqp", "infiniband.bth.psn", "infiniband.aeth.syndrome", "ip.dsfield.ecn",
          "frame.comment")
ACKNOWLEDGE = 17
READ_RESPONSES = range(13, 17)
PSNS = 1 << 24


@dataclasses.dataclass
class Packet:
    entered: bool  # as the host sent it; else as it left the link, or was lost there
    time_ns: int
    source: str
    opcode: int
    qp: int
    psn: int
    syndrome: int | None
    ecn: int
    comment: str

    @property
    def dropped(self):
        return self.comment.startswith("dropped")

    @property
    def arrived(self):
        return not self.entered and not self.dropped

    @property
    def intact(self):
        return self.arrived and "corrupted" not in self.comment

    @property
    def request(self):
        return self.opcode != ACKNOWLEDGE and self.opcode not in READ_RESPONSES

    @property
    def nak(self):
        return self.syndrome is not None and self.syndrome >> 5 == 3


def _nanoseconds(seconds):
    whole, _, fraction = seconds.partition(".")
    return int(whole) * 10**9 + int(fraction.ljust(9, "0")[:9])


def read(file):
    """RoCE packets over IPv4, in the order of the file."""
    packets = []
    for row in measure.tshark_fields(file, "infiniband && ip", *FIELDS):
        _, time, source, opcode, qp, psn, syndrome, ecn, comment = row
        packets.append(Packet(not comment, _nanoseconds(time), source, int(opcode), int(qp, 0), int(psn),
                              int(syndrome, 0) if syndrome else None, int(ecn), comment))
    return packets


def behind(psn, other):
    """How far `psn` lies behind `other`, which is positive if it is later."""
    return (psn - other + PSNS // 2) % PSNS - PSNS // 2


def sequence(packets):
    """(gaps, missing, repeated) of the requests of one queue pair, in the order of `packets`."""
    gaps = missing = repeated = 0
    expected, seen = None, set()
    for packet in packets:
        repeated += packet.psn in seen
        seen.add(packet.psn)
        ahead = 0 if expected is None else behind(packet.psn, expected)
        if ahead < 0:
            continue
        gaps += ahead > 0
        missing += ahead
        expected = (packet.psn + 1) % PSNS
    return gaps, missing, repeated
