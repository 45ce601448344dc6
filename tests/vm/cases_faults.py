"""One fault, and what it makes of a connection: in the capture as tshark decodes it, and in the
kernels' own counters. Bulk writes from a to b; b answers with ACKs alone."""

import contextlib

import trace
from cases_perftest import LONG_TIMEOUT, link
from harness import at_least
from lab import table
from lab.table import Row
from vm_lab import rdma

DISTANCE = "200 km"
RTT_S = 2 * 200e3 * 1.4682 / 299_792_458
MESSAGES, MESSAGE_BYTES = 30, 65536
PACKETS = MESSAGES * MESSAGE_BYTES // 4096


class Run:
    """The packets of a run, by direction, and what the kernels counted meanwhile."""

    def __init__(self, a, b, file, before):
        self.kernel = {guest.name: {name: value - before[guest][name]
                                    for name, value in rdma.counters(guest).items()}
                       for guest in (a, b)}
        packets = trace.read(file)
        self.requests = [p for p in packets if p.source == a.address and p.request]
        self.answers = [p for p in packets if p.source == b.address]
        self.arrived = [p for p in self.requests if p.arrived]
        self.entered = [p for p in self.requests if p.entered]
        self.gaps, self.missing, self.repeated = trace.sequence(self.arrived)
        self.naks = [p for p in self.answers if p.entered and p.nak]

    def times(self, psn):
        """When this PSN entered the link."""
        return [p.time for p in self.entered if p.psn == psn]


@contextlib.contextmanager
def writes(lab, *options, count=MESSAGES, **settings):
    """Carries out ib_write_bw across a link with these settings; gives its Run."""
    a, b = lab.guests.values()
    file = lab.directory / "faults.pcapng"
    with link(lab, "--set", f"engine.capture={file}", distance=DISTANCE, **settings):
        before = {guest: rdma.counters(guest) for guest in (a, b)}
        rdma.pair(b, a, "ib_write_bw", "-s", MESSAGE_BYTES, "-n", count, *options)
    yield Run(a, b, file, before)


def _repaired(rows, run, psn):
    """The PSN was sent again after an answer could tell, and arrived at last."""
    first, *again = run.times(psn)
    rows.append(at_least("sent again", 1, len(again)))
    seconds = (again or [first])[0] - first
    rows.append(Row("time from its loss to its retransmission",
                    f"≥ {RTT_S * 1e3:.3f} ms, the round trip", f"{seconds * 1e3:.3f} ms",
                    seconds >= RTT_S, "", {"seconds": seconds}))
    rows.append(at_least("arrived at last", 1, sum(
        p.psn == psn and p.time > first for p in run.arrived if "corrupted" not in p.comment)))


def _sequence_naks(rows, run, psn):
    """A NAK that asks for the PSN, as tshark and as b's kernel see it; else a's timer did it."""
    naks = [p.psn for p in run.naks]
    timeouts = run.kernel["a"]["completer_retry_err"] - run.kernel["a"]["rcvd_seq_err"]
    rows.append(Row("NAK for it, or a timeout", "≥ 1", f"{naks.count(psn)} NAK, {timeouts} timeouts",
                    psn in naks or timeouts > 0))
    rows.append(table.exactly("NAKs, capture against b's kernel", len(naks),
                              run.kernel["b"]["out_of_seq_request"]))


def drop_one(lab, rows):
    """One packet dropped: one gap, a NAK or timeout, the retransmission."""
    fault = {"src": "10.77.0.1", "dst_port": "4791", "nth": 100, "action": "drop"}
    with writes(lab, *LONG_TIMEOUT, ab={"rules": [fault]}) as run:
        dropped = [p.psn for p in run.requests if p.dropped]
        rows.append(table.exactly("dropped", 1, len(dropped)))
        rows.append(table.exactly("which is the 100th that entered", run.entered[99].psn, dropped[0]))
        rows.append(table.exactly("gaps and PSNs missing where b gets them", (1, 1),
                                  (run.gaps, run.missing)))
        _sequence_naks(rows, run, dropped[0])
        _repaired(rows, run, dropped[0])
        rows.append(table.exactly("received, capture against b's kernel", len(run.arrived),
                                  run.kernel["b"]["rcvd_pkts"]))


def corrupt_one(lab, rows):
    """One packet corrupted, its ICRC stale: b discards it without a word, and it is sent again."""
    fault = {"src": "10.77.0.1", "dst_port": "4791", "nth": 100, "action": "corrupt"}
    with writes(lab, *LONG_TIMEOUT, ab={"rules": [fault]}) as run:
        corrupted = [p for p in run.arrived if "corrupted" in p.comment]
        rows.append(table.exactly("corrupted", 1, len(corrupted)))
        rows.append(table.exactly("which arrived, and b's kernel did not count", 1,
                                  len(run.arrived) - run.kernel["b"]["rcvd_pkts"]))
        _sequence_naks(rows, run, corrupted[0].psn)
        _repaired(rows, run, corrupted[0].psn)


def drop_acks(lab, rows):
    """The first ACKs dropped: a sends again what b has, and b sees duplicates."""
    count = 8  # of messages of 16 packets: rxe sends at most 128 packets ahead of the last ACK
    fault = {"src": "10.77.0.2", "dst_port": "4791", "nth": 1, "every": 1, FIRST: count,
             "action": "drop"}
    with writes(lab, ba={"rules": [fault]}) as run:
        rows.append(table.exactly("ACKs dropped", count, sum(p.dropped for p in run.answers)))
        rows.append(table.exactly("requests dropped", 0, sum(p.dropped for p in run.requests)))
        rows.append(table.exactly("gaps where b gets them", 0, run.gaps))
        rows.append(at_least("duplicate PSNs where b gets them", 1, run.repeated))
        rows.append(table.exactly("duplicates, capture against b's kernel", run.repeated,
                                  run.kernel["b"]["duplicate_request"]))
        rows.append(table.exactly("distinct PSNs", PACKETS, len({p.psn for p in run.arrived})))


def mark(lab, rows):
    """Every tenth packet marked CE: b's kernel counts as many, and nothing is sent again."""
    b = lab.guests["b"]
    fault = {"src": "10.77.0.1", "dst_port": "4791", "every": 10, "action": "mark"}
    before = _ip_counters(b)
    with writes(lab, *LONG_TIMEOUT, "--tclass", 2, ab={"rules": [fault]}) as run:  # 2: ECT(0)
        marked = sum(p.ecn == 3 for p in run.arrived)
        rows.append(table.exactly("marked", len(run.entered) // 10, marked))
        rows.append(table.exactly("... by the comments", marked,
                                  sum("marked CE" in p.comment for p in run.arrived)))
        rows.append(table.exactly("... by b's kernel", marked,
                                  _ip_counters(b)["InCEPkts"] - before["InCEPkts"]))
        rows.append(table.exactly("received, capture against b's kernel (ICRC holds)",
                                  len(run.arrived), run.kernel["b"]["rcvd_pkts"]))


def _ip_counters(guest):
    names, values = guest.run("grep ^IpExt /proc/net/netstat").text.splitlines()
    return dict(zip(names.split()[1:], map(int, values.split()[1:])))


FIRST = "first"
CASES = (drop_one, corrupt_one, drop_acks, mark)
