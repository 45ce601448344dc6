"""One fault, and what it makes of a connection: in the capture as tshark decodes it, in the kernels'
own counters, and by the engine's observer. Bulk writes from a to b; b answers with ACKs alone."""

import contextlib

import observed
import trace
from cases_perftest import FAR_NS, LONG_TIMEOUT, link
from harness import at_least
from lab import table
from lab.system import wait_until
from lab.table import Row
from vm_lab import rdma

DISTANCE = "200 km"
RTT_NS = 2 * 200e3 * 1.4682 / 299_792_458 * 1e9
FAR_RTT_NS = 2 * FAR_NS
MESSAGES, MESSAGE_BYTES = 30, 65536
PACKETS = MESSAGES * MESSAGE_BYTES // 4096


class Run:
    """The packets of a run, by direction; what the kernels counted and the observer saw."""

    def __init__(self, a, b, file, kernel, queue_pairs):
        self.kernel, self.queue_pairs = kernel, queue_pairs
        packets = trace.read(file)
        self.requests = [p for p in packets if p.source == a.address and p.request]
        self.answers = [p for p in packets if p.source == b.address]
        self.arrived = [p for p in self.requests if p.arrived]
        self.entered = [p for p in self.requests if p.entered]
        self.gaps, self.missing, self.repeated = trace.sequence(self.arrived)
        self.naks = [p for p in self.answers if p.entered and p.nak]

    def times(self, psn):
        """When this PSN entered the link."""
        return [p.time_ns for p in self.entered if p.psn == psn]

    def observer(self, rows):
        """Its counts, packet by packet; gives its view of the requests' queue pair."""
        requests = observed.find(self.queue_pairs, "ab", self.entered[0].qp)
        observed.compare(rows, requests, self.requests)
        answers = observed.find(self.queue_pairs, "ba", self.answers[0].qp)
        observed.compare_answers(rows, answers, self.answers)
        return requests


@contextlib.contextmanager
def writes(lab, *options, messages=MESSAGES, meanwhile=lambda engine: None, **settings):
    """Carries out ib_write_bw across a link with these settings; gives its Run."""
    a, b = lab.guests.values()
    file = lab.directory / "faults.pcapng"
    with link(lab, "--set", f"engine.capture={file}", distance=DISTANCE, **settings) as engine:
        before = {guest: rdma.counters(guest) for guest in (a, b)}
        running = rdma.Pair(b, a, "ib_write_bw", "-s", MESSAGE_BYTES, "-n", messages, *options)
        meanwhile(engine)
        running.result()
        kernel = {guest.name: {name: value - before[guest][name]
                               for name, value in rdma.counters(guest).items()}
                  for guest in (a, b)}
        queue_pairs = observed.queue_pairs(engine)
    yield Run(a, b, file, kernel, queue_pairs)


def _repaired(rows, run, psn):
    """The PSN was sent again after an answer could tell, and arrived at last."""
    first, *again = run.times(psn)
    rows.append(at_least("sent again", 1, len(again)))
    waited_ns = (again or [first])[0] - first
    rows.append(Row("time from its loss to its retransmission",
                    f"≥ {RTT_NS / 1e6:.3f} ms, the round trip", f"{waited_ns / 1e6:.3f} ms",
                    waited_ns >= RTT_NS, "", {"ns": waited_ns}))
    rows.append(at_least("arrived at last", 1, sum(
        p.intact and p.psn == psn and p.time_ns > first for p in run.requests)))
    requests = run.observer(rows)
    rows.append(table.exactly("observer: recoveries, and their time in ns", (1, waited_ns),
                              (requests["recovery"]["count"], requests["recovery"].get("min_ns"))))


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


class ChosenPsn:
    """Waits for bulk traffic, then has one PSN dropped that is yet to come."""

    AHEAD = 500

    def __call__(self, engine):
        seen = wait_until(lambda: self._busy(engine), 30, "writes under way")
        self.psn = (seen["next_psn"] + self.AHEAD) % trace.PSNS
        engine.call("POST", "/api/v1/links/wire/rules", {
            "match": f"qp={seen['destination_qp']} psn={self.psn}", "action": "drop", "count": 1,
            "direction": "ab"})

    def _busy(self, engine):
        return next((q for q in observed.queue_pairs(engine)
                     if q["direction"] == "ab" and q["ingress"]["packets"] > 100), None)


def drop_psn(lab, rows):
    """A PSN chosen while the connection runs, dropped once: one gap, a NAK, its retransmission."""
    chosen = ChosenPsn()
    # 1,920 packets in 1.3 s, so that the rule comes in time on fast machines too.
    with writes(lab, *LONG_TIMEOUT, messages=120, meanwhile=chosen, rate="50 Mbps") as run:
        rows.append(table.exactly("dropped", [chosen.psn], [p.psn for p in run.requests if p.dropped]))
        rows.append(table.exactly("gaps and PSNs missing where b gets them", (1, 1),
                                  (run.gaps, run.missing)))
        _sequence_naks(rows, run, chosen.psn)
        _repaired(rows, run, chosen.psn)


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
    fault = {"src": "10.77.0.2", "dst_port": "4791", "nth": 1, "every": 1, "count": count,
             "action": "drop"}
    with writes(lab, ba={"rules": [fault]}) as run:
        rows.append(table.exactly("ACKs dropped", count, sum(p.dropped for p in run.answers)))
        rows.append(table.exactly("requests dropped", 0, sum(p.dropped for p in run.requests)))
        rows.append(table.exactly("gaps where b gets them", 0, run.gaps))
        rows.append(at_least("duplicate PSNs where b gets them", 1, run.repeated))
        rows.append(table.exactly("duplicates, capture against b's kernel", run.repeated,
                                  run.kernel["b"]["duplicate_request"]))
        rows.append(table.exactly("distinct PSNs", PACKETS, len({p.psn for p in run.arrived})))
        run.observer(rows)


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
        requests = run.observer(rows)
        rows.append(table.exactly("observer: CE", marked, requests["egress"]["ce_packets"]))


def spurious(lab, rows):
    """rxe's timer sends again, within one round trip of 2,000 km, what nothing was wrong with."""
    a, b = lab.guests.values()
    file = lab.directory / "spurious.pcapng"
    with link(lab, "--set", f"engine.capture={file}", distance="2000 km") as engine:
        rdma.pair(b, a, "ib_send_lat", "-e", "-n", 150)  # with perftest's own timeout of 67 ms
        queue_pairs = observed.queue_pairs(engine)
    sent = [p for p in trace.read(file) if p.source == a.address]
    last, early = {}, 0
    for packet in (p for p in sent if p.entered and p.request):
        early += packet.time_ns - last.get(packet.psn, -FAR_RTT_NS) < FAR_RTT_NS
        last[packet.psn] = packet.time_ns
    requests = observed.find(queue_pairs, "ab", sent[0].qp)
    found, open_ = requests["spurious_retransmissions"], requests["undecided_retransmissions"]
    rows.append(at_least("retransmissions within a round trip, by the capture", 1, early))
    rows.append(Row("observer: spurious, undecided", f"{early} in all, or undecided",
                    f"{found}, {open_}", 0 < found <= early <= found + open_))
    observed.compare(rows, requests, sent)


def _ip_counters(guest):
    names, values = guest.run("grep ^IpExt /proc/net/netstat").text.splitlines()
    return dict(zip(names.split()[1:], map(int, values.split()[1:])))


CASES = (drop_one, drop_psn, corrupt_one, drop_acks, mark, spurious)
