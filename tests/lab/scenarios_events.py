"""Changes while traffic flows: distance, cuts; and whether the engine's seconds are seconds."""

import time

from harness import (at_least, dropped, engine, own_drops, read_trace, scenario)
from lab import measure, table
from lab.stats import median
from lab.topology import Lab
from scenarios_wire import NS_PER_KM

PPS = 5000


def _one_way(trace):
    return [r["received_ns"] - r["sent_ns"] for r in trace]


@scenario
def live_distance(rows):
    """A new length takes effect while packets are in flight, and costs none of them."""
    with Lab(["a", "b"]) as lab:
        a, b = lab.hosts.values()
        with engine(lab, "--distance", "500 km", "--rate", "100 Mbps", "--set",
                    "engine.headroom.delay=20 ms") as running:
            for km_before, km_after in ((500, 2000), (2000, 500)):
                trace = lab.directory / f"to{km_after}.csv"
                with measure.Stream(a, b, PPS, 4 * PPS, 200, traces=(None, trace)) as stream:
                    time.sleep(2)
                    running.set(distance=f"{km_after} km")
                    result = stream.result()
                change = f"{km_before} to {km_after} km"
                arrivals = sorted(read_trace(trace), key=lambda r: r["sequence"])
                quarter = len(arrivals) // 4
                step = median(_one_way(arrivals[-quarter:])) - median(_one_way(arrivals[:quarter]))
                rows.append(table.within(f"{change}: step of the delay",
                                         (km_after - km_before) * NS_PER_KM, step, 100e3, "ms", 1e6))
                rows.append(table.exactly(f"{change}: lost", 0, result["lost"]))
                if km_after > km_before:
                    rows.append(table.exactly(f"{change}: reordered", 0, result["reordered"]))
                else:
                    rows.append(at_least(f"{change}: overtaken, as in fiber", 10,
                                         result["reordered"]))
            rows.append(table.exactly("own drops", 0, own_drops(running)))


def _outages(trace, result):
    """(when the first lost packet was sent, when the first after it) of every gap."""
    sent = {r["sequence"]: r["sent_ns"] for r in trace}
    return [(sent[first], sent[first + count]) for first, count in result["gaps"]]


@scenario
def cut(rows):
    """Five times 50 ms at 200 of 1000 km: the rule loses what is at the cut then, and nothing else.

    A packet is lost if entry + x n/c is in [cut, restore), x counted from its sender: so the other
    direction's window begins earlier by (L - 2x) n/c. Of the times the median of five is judged: one
    of them is off where sender or engine had to wait for a CPU just then.
    """
    length, position, duration_ns, cuts = 1000, 200, 50e6, 5
    with Lab(["a", "b"]) as lab:
        a, b = lab.hosts.values()
        with engine(lab, "--distance", f"{length} km", "--rate", "100 Mbps") as running:
            traces = {d: lab.directory / f"{d}.csv" for d in ("ab", "ba")}
            with measure.Stream(a, b, PPS, 5 * PPS, 200, traces=(traces["ab"], None)) as there, \
                    measure.Stream(b, a, PPS, 5 * PPS, 200, port=5601,
                                   traces=(traces["ba"], None)) as back:
                time.sleep(1)
                for _ in range(cuts):
                    running.call("POST", "/api/v1/links/wire/cut",
                                 {"for": "50 ms", "position": f"{position} km"})
                    time.sleep(0.5)
                results = {"ab": there.result(), "ba": back.result()}
            outages = {}
            for direction, result in results.items():
                rows.append(table.exactly(f"{direction}: gaps", cuts, result["gap_count"]))
                if result["gap_count"] != cuts:
                    return
                outages[direction] = _outages(read_trace(traces[direction]), result)
                rows.append(table.within(f"{direction}: outage in the senders' time", duration_ns,
                                         median([after - first for first, after in outages[direction]]),
                                         0.5e6, "ms", 1e6, f"{result['lost']} packets in all"))
                rows.append(table.exactly(f"{direction}: lost, by the engine's counter",
                                          dropped(running, "cut", direction), result["lost"]))
                rows.append(table.exactly(f"{direction}: other drops", 0,
                                          dropped(running, None, direction)
                                          - dropped(running, "cut", direction)))
            rows.append(table.within("ba begins before ab by", (length - 2 * position) * NS_PER_KM,
                                     median([ab - ba for (ab, _), (ba, _)
                                             in zip(outages["ab"], outages["ba"])]),
                                     0.5e6, "ms", 1e6))
            rows.append(table.exactly("own drops", 0, own_drops(running)))


@scenario
def clock(rows):
    """10 s of delay, timed by another process on CLOCK_MONOTONIC_RAW: 5 ppm are 50 us."""
    delay_s = 10
    with Lab(["a", "b"]) as lab:
        a, b = lab.hosts.values()
        with engine(lab, "--delay", "0 ms", "--rate", "1 Gbps"):
            floor = measure.probe(a, b, 200, 1000, 200)["delay_ns"]["min"]
        with engine(lab, "--delay", f"{delay_s} s", "--rate", "1 Gbps", "--set",
                    "engine.max_packet_rate=2000 pps") as running:
            least = measure.probe(a, b, 200, 1000, 200, idle_s=delay_s + 2)["delay_ns"]["min"]
            own = 1e6 * running.metric("farspan_engine_clock_error_ratio")
    error_ppm = (least - floor - delay_s * 1e9) / delay_s / 1e3
    rows.append(table.within("clock against CLOCK_MONOTONIC_RAW", 0, error_ppm, 5, "ppm", 1,
                             f"the engine's own figure: {own:.2f} ppm"))
