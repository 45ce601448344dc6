"""The model rc-gbn beside what it stands for: rxe's go-back-N under the same faults, counted in packets.

Speed is not compared: an emulated CPU takes longer for a packet than the link. So the round trip is
long enough that all of a run is under way before the first answer comes, and the model's sender has
the pace that the guest had. What one lost packet makes of the connection is then the same numbers of
packets every time, and must be the model's; how long a timeout waits is each one's own, and is told.
"""

import collections
import dataclasses
import json
import subprocess

import trace
from cases_perftest import BULK, link
from harness import Unbelievable
from lab import table
from lab.engine import BUILD
from lab.stats import median
from lab.table import Row
from vm_lab import rdma

DISTANCE = "10000 km"
RTT_NS = 2 * 10_000e3 * 1.4682 / 299_792_458 * 1e9
TIMEOUT = 17
T_NS = 4096 << TIMEOUT
MESSAGES, PER_MESSAGE = 8, 2
PACKETS = MESSAGES * PER_MESSAGE
LOSSY = {"messages": 25, "packets": 16, "loss": 0.01}
SEEDS = 10


@dataclasses.dataclass
class Fault:
    """The n-th packets that a sends, and that b answers, from 1; of 16 packets in 8 messages."""
    name: str
    requests: tuple = ()
    answers: tuple = ()


FAULTS = (Fault("one packet", requests=(8,)),
          Fault("the last packet of the last message", requests=(PACKETS,)),
          Fault("one packet, and the first that is sent again", requests=(8, PACKETS + 1)),
          Fault("one packet, and its NAK", requests=(8,), answers=(4,)),
          Fault("all ACKs", answers=tuple(range(1, MESSAGES + 1))))


@dataclasses.dataclass
class Account:
    """What a run came to."""
    again: int      # packets sent again
    gaps: int       # where b gets them
    naks: int       # that b sent
    acks: int
    back: int       # times that a went back
    timeouts: int   # of these, without a NAK that arrived
    waited_ns: int  # the longest from a packet's first departure to its last
    first_ns: int   # from the first packet to the last one that was new

    COUNTS = {"again": "sent again", "gaps": "gaps", "naks": "NAKs", "back": "times gone back", "timeouts": "timeouts"}


def account(events, timeouts=None):
    """Of [(kind, number, time, lost)] by time, where numbers do not go round; `timeouts` if known."""
    first, last, back, gaps, previous, expected = {}, {}, 0, 0, -1, 0
    requests = [event for event in events if event[0] == "request"]
    for _, number, time, lost in requests:
        back += number <= previous
        previous = number
        first.setdefault(number, time)
        last[number] = time
        if not lost:
            gaps += number > expected
            expected = max(expected, number + 1)
    naks = [lost for kind, _, _, lost in events if kind == "nak"]
    if timeouts is None:
        timeouts = back - naks.count(False)
    return Account(len(requests) - len(first), gaps, len(naks),
                   sum(kind == "ack" for kind, *_ in events), back, timeouts,
                   max(last[n] - first[n] for n in first), first[max(first)] - requests[0][2])


def modelled(fault, packet_ns, model="rc-gbn", **others):
    plan = {"model": model, "rtt_ns": int(RTT_NS), "packet_ns": int(packet_ns), "timeout": TIMEOUT,
            "messages": MESSAGES, "packets": PER_MESSAGE, "drop_requests": fault.requests,
            "drop_answers": fault.answers, "loss": 0, "seed": 1, **others}
    done = subprocess.run([BUILD / "tests/vm/rc_model", json.dumps(plan)], check=True, timeout=30,
                          capture_output=True)
    return account(**json.loads(done.stdout))


def _measured(lab):
    """The Accounts of rxe: of the faults in their order, then of random loss."""
    a, b = lab.guests.values()
    file = lab.directory / "models.pcapng"
    with link(lab, *BULK, "--set", f"engine.capture={file}", distance=DISTANCE) as engine:
        for fault in FAULTS:
            for direction, source, dropped in (("ab", a, fault.requests), ("ba", b, fault.answers)):
                for nth in dropped:
                    engine.call("POST", "/api/v1/links/wire/rules", {
                        "match": f"src={source.address} dst_port=4791", "nth": nth,
                        "action": "drop", "direction": direction})
            _write(b, a, MESSAGES, PER_MESSAGE)
            engine.call("DELETE", "/api/v1/links/wire/rules", {})
        engine.set(loss=f"{LOSSY['loss']:g}")
        engine.call("POST", "/api/v1/epoch", {})
        _write(b, a, LOSSY["messages"], LOSSY["packets"])
    packets = trace.read(file)
    return [account(_events([p for p in packets if p.source == a.address and p.qp == there],
                            [p for p in packets if p.source == b.address and p.qp == back]))
            for there, back in zip(_queue_pairs(packets, a), _queue_pairs(packets, b), strict=True)]


def _write(server, client, messages, packets):
    rdma.pair(server, client, "ib_write_bw", "-s", packets * 4096, "-n", messages, "-u", TIMEOUT)


def _queue_pairs(packets, source):
    """That a guest sent to, in the order of their first packets."""
    return list(dict.fromkeys(p.qp for p in packets if p.source == source.address))


def _events(*directions):
    base = next(p.psn for p in directions[0] if p.entered)
    events = []
    for packets in directions:
        fates = collections.defaultdict(collections.deque)  # of those with a PSN, in order
        for packet in packets:
            if not packet.entered:
                fates[packet.psn, packet.nak].append(packet.dropped)
        events += [("request" if p.request else "nak" if p.nak else "ack", trace.behind(p.psn, base),
                    p.time_ns, fates[p.psn, p.nak].popleft()) for p in packets if p.entered]
    return sorted(events, key=lambda event: event[2])


def deviations(pairs):
    """Markdown: what rxe and the model came to, for each fault."""
    lines = ["| fault | " + " | ".join(Account.COUNTS.values()) + " | ACKs | recovered after |",
             "|---|" + "---|" * (len(Account.COUNTS) + 2)]
    for name, rxe, model in pairs:
        cells = [f"{getattr(rxe, c)} / {getattr(model, c)}" for c in (*Account.COUNTS, "acks")]
        waited = " / ".join(_waited(one) for one in (rxe, model))
        lines.append(f"| {name} | {' | '.join(cells)} | {waited} |")
    return "\n".join(lines)


def _waited(one):
    """Its longest wait in round trips; of a timeout, in T."""
    return f"{one.waited_ns / T_NS:.2f} T" if one.timeouts else f"{one.waited_ns / RTT_NS:.2f} RTT"


def models(lab, rows):
    """rxe and rc-gbn make the same of every single fault; what random loss makes of both is told."""
    *accounts, lossy = _measured(lab)
    pairs = []
    for fault, rxe in zip(FAULTS, accounts, strict=True):
        if rxe.first_ns >= RTT_NS:
            raise Unbelievable(f"guest a took {rxe.first_ns / 1e6:.0f} ms for {PACKETS} packets")
        model = modelled(fault, rxe.first_ns / (PACKETS - 1))
        if rxe.timeouts > model.timeouts:
            raise Unbelievable(f"{fault.name} lost: {rxe.timeouts} timeouts: a guest stood still")
        pairs.append((fault.name, rxe, model))
        for count, words in Account.COUNTS.items():
            rows.append(table.exactly(f"{fault.name} lost: {words}", getattr(model, count),
                                      getattr(rxe, count)))
    packet_ns = accounts[0].first_ns / (PACKETS - 1)
    twin = modelled(FAULTS[0], packet_ns, "rc-sr")
    rows.append(Row(f"{FAULTS[0].name} lost: sent again, judged against rc-sr", f"not {twin.again}",
                    str(accounts[0].again), accounts[0].again != twin.again, "must not agree"))
    print(f"\nrxe / rc-gbn; RTT {RTT_NS / 1e6:.1f} ms, T {T_NS / 1e6:.0f} ms\n\n{deviations(pairs)}\n\n"
          f"{_random(lossy, packet_ns)}")


def _random(rxe, packet_ns):
    """A line on random loss: one run of rxe beside as many seeds of the model."""
    runs = [modelled(Fault("random"), packet_ns, seed=seed, **LOSSY) for seed in range(1, SEEDS + 1)]

    def cell(count, words):
        values = sorted(getattr(run, count) for run in runs)
        return f"{words} {getattr(rxe, count)} / {median(values):g} ({values[0]}–{values[-1]})"
    packets = LOSSY["messages"] * LOSSY["packets"]
    return f"loss {LOSSY['loss']:g}, {packets} packets: " + ", ".join(
        cell(*pair) for pair in Account.COUNTS.items() if pair[0] != "gaps")


CASES = (models,)
