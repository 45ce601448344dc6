"""One link between two hosts: delay, rate, loss, order, ECN, as asked and as measured."""

import time

from harness import at_least, dropped, engine, own_drops, probability, scenario, wire
from lab import measure, table
from lab.stats import median
from lab.topology import Lab

RTT_TOLERANCE_NS = 100_000
NS_PER_KM = 1e12 * 1.4682 / 299_792_458
FULL = 1472  # UDP payload at MTU 1500
REFERENCE_WIRE_BYTES = 1538
QUEUE = "200 ms"  # keeps the bottleneck busy while a sender has to wait for its CPU


def rate_row(name, asked, measured, note=""):
    return table.within(name, asked, measured, 0.01 * asked, "Mb/s", 1e6, note)


@scenario
def rtt(rows):
    """Round trips are 2 x delay + the lab's floor, for glass, delay and RTT given; by ping, whose
    far end is the kernel, and by the probe, without what its ends take to wake."""
    with Lab(["a", "b"]) as lab:
        a, b = lab.hosts.values()
        for option, value, one_way in (("distance", "100 km", 100 * NS_PER_KM),
                                       ("distance", "1000 km", 1000 * NS_PER_KM),
                                       ("rtt", "5 ms", 2.5e6), ("delay", "10 ms", 10e6),
                                       ("delay", "25 ms", 25e6), ("delay", "50 ms", 50e6)):
            with engine(lab, f"--{option}", value, "--rate", "1 Gbps") as running:
                trips = measure.beside_the_floor(a, b, lambda: running.set(delay="0 ms"),
                                                 lambda: running.set(**{option: value}))
            for name, trip, floor in (("ping", trips.ping, trips.ping_floor),
                                      ("probe", trips.probe, trips.probe_floor)):
                rows.append(table.within(f"{option} {value}, {name}", 2 * one_way, trip,
                                         RTT_TOLERANCE_NS, "ms", 1e6,
                                         f"floor {floor / 1e3:.0f} us, taken off"))
            # Never early, by any single round trip.
            rows.append(at_least(f"{option} {value}, least RTT in us", round(2 * one_way / 1e3),
                                 round(trips.least / 1e3)))
        with engine(lab, "--delay", "10.1 ms", "--rate", "1 Gbps") as running:
            twin = measure.beside_the_floor(a, b, lambda: running.set(delay="0 ms"),
                                            lambda: running.set(delay="10.1 ms"), rounds=3)
        rows.append(table.exactly("the twin: 10.1 ms would pass for 10 ms", False,
                                  abs(twin.ping - 20e6) <= RTT_TOLERANCE_NS))


@scenario
def rate_100m(rows):
    """At the receiving program, offered more than the cap and less."""
    cap = 100e6
    with wire("--distance", "100 km", "--rate", "100 Mbps", "--limit", QUEUE) as (a, b, running):
        pps = measure.packets_per_s(1.2 * cap, FULL)
        over = measure.probe(a, b, pps, 6 * pps, FULL, batch=8)
        rows.append(at_least("offered above the cap, Mb/s", 105,
                             round(over["offered_wire_bits_per_s"] / 1e6)))
        rows.append(rate_row("probe, above the cap", cap, over["wire_bits_per_s"],
                             f"receiving socket dropped {over['socket_dropped']}"))
        rows.append(table.exactly("what was lost is what the queue dropped",
                                  dropped(running, "tail_drop"), over["lost"]))
        pps = measure.packets_per_s(0.5 * cap, FULL)
        under = measure.probe(a, b, pps, 4 * pps, FULL)
        # A machine that others share may hold the sender up: what it did send counts.
        rows.append(at_least("offered below the cap, Mb/s", 30,
                             round(under["offered_wire_bits_per_s"] / 1e6)))
        rows.append(rate_row("probe, below the cap", under["sent_wire_bits_per_s"],
                             under["wire_bits_per_s"], "as the same packets were sent"))
        rows.append(table.exactly("lost below the cap", 0, under["lost"]))
        share = FULL / measure.wire_bytes(FULL)
        udp = measure.iperf3(a, b, "-u", "-b", f"{1.2 * cap * share:.0f}", "-l", FULL, seconds=7)
        rows.append(rate_row("iperf3 UDP, on the wire", cap, measure.udp_goodput(udp) / share,
                             f"receiving socket dropped {udp['socket_dropped']}"))
        rows.append(table.exactly("own drops", 0, own_drops(running)))


@scenario
def rate_1g(rows):
    """MTU 4096, counted at the receiving interface: the socket may lose on few cores."""
    cap, payload = 1e9, 4096 - 28
    with wire("--distance", "100 km", "--rate", "1 Gbps", "--limit", QUEUE, "--set",
              "engine.mtu=4096 B", "--set", "engine.plan_frame=1000 B", mtu=4096) as (a, b, running):
        pps = measure.packets_per_s(1.15 * cap, payload)
        with measure.Stream(a, b, pps, 8 * pps, payload, batch=32) as stream:
            time.sleep(2)
            interface = measure.interface_rate(b, "eth0", 4)
            result = stream.result()
        rows.append(at_least("offered on the wire, Mb/s", 1050,
                             round(result["offered_wire_bits_per_s"] / 1e6)))
        rows.append(rate_row("at the receiving interface", cap, interface["wire_bits_per_s"],
                             f"of {result['sent']} sent the receiving socket dropped "
                             f"{result['socket_dropped']}"))
        rows.append(table.exactly("own drops", 0, own_drops(running)))


@scenario
def loss(rows):
    """Both keyings, both directions; by wire time a packet's chance follows its size."""
    p, pps, count = 1e-2, 4000, 40_000
    with wire("--delay", "1 ms", "--rate", "100 Mbps", "--loss", str(p)) as (a, b, running):
        for payload in (FULL, 200):
            share = measure.wire_bytes(payload) / REFERENCE_WIRE_BYTES
            before = {d: dropped(running, "loss", d) for d in ("ab", "ba")}
            with measure.Stream(a, b, pps, count, payload) as there, \
                    measure.Stream(b, a, pps, count, payload, port=5601) as back:
                results = {"ab": there.result(), "ba": back.result()}
            for direction, result in results.items():
                name = f"by wire time, {payload} B, {direction}"
                rows.append(probability(name, 1 - (1 - p) ** share, result["lost"], result["sent"]))
                rows.append(table.exactly(name + ", engine's counter",
                                          dropped(running, "loss", direction) - before[direction],
                                          result["lost"]))
    packet = f'link.wire.loss={{model="bernoulli", probability="{p}", keying="packet"}}'
    with wire("--delay", "1 ms", "--rate", "100 Mbps", "--set", packet) as (a, b, running):
        result = measure.probe(a, b, pps, count, 200)
        rows.append(probability("by packet, 200 B", p, result["lost"], result["sent"]))
        rows.append(table.exactly("own drops", 0, own_drops(running)))


@scenario
def order(rows):
    """Jitter keeps the order unless reordering is asked for; nothing is lost either way."""
    for name, jitter in (("in order", 'deviation="500 us"'),
                         ("reorder = true", 'deviation="500 us", reorder=true')):
        with wire("--delay", "5 ms", "--set", f"link.wire.jitter={{{jitter}}}") as (a, b, _):
            result = measure.probe(a, b, 5000, 30_000, 200)
        if name == "in order":
            rows.append(table.exactly(f"{name}: reordered", 0, result["reordered"]))
        else:
            # At 200 us spacing and 500 us deviation about a third arrive after a later one.
            rows.append(at_least(f"{name}: reordered of 30000", 3000, result["reordered"]))
        rows.append(table.exactly(f"{name}: lost, duplicated", 0,
                                  result["lost"] + result["duplicates"]))
        # By its lower half: what a shared machine holds up is in the upper one.
        delay = result["delay_ns"]
        rows.append(table.within(f"{name}: deviation", 500e3, delay["p50"] - delay["p16"], 60e3,
                                 "us", 1e3))


@scenario
def disturbances(rows):
    """Duplicates and flipped bits, counted by the probe and by the engine."""
    p, count = 1e-2, 30_000
    with wire("--delay", "1 ms", "--set", f"link.wire.duplicate={p}", "--set",
              f"link.wire.corrupt={p}") as (a, b, running):
        result = measure.probe(a, b, 4000, count, 400)
        rows.append(probability("duplicated", p, result["duplicates"], result["sent"]))
        rows.append(probability("corrupted", p, result["corrupted"], result["sent"],
                                "a duplicate of a corrupted packet counts twice at the receiver"))
        rows.append(table.exactly("own drops", 0, own_drops(running)))


@scenario
def ecn(rows):
    """Marks as tshark sees them: above the step only, only on what is ECN-capable."""
    aqm = 'link.wire.aqm={kind="step", threshold="100 kB", drop_not_ect=false}'
    with Lab(["a", "b"]) as lab:
        a, b = lab.hosts.values()
        with engine(lab, "--delay", "2 ms", "--rate", "100 Mbps", "--limit", "100 ms", "--set",
                    aqm) as running:
            pps = measure.packets_per_s(105e6, FULL)
            for name, tos in (("ECT(0)", 2), ("not ECT", 0)):
                before = running.metric("farspan_link_marked_packets_total", direction="ab")
                file = lab.directory / f"ecn{tos}.pcapng"
                with measure.capture(b, file, "udp port 5600"):
                    result = measure.probe(a, b, pps, 3 * pps, FULL, tos=tos, batch=4)
                marked = running.metric("farspan_link_marked_packets_total", direction="ab") - before
                seen = measure.tshark_count(file, "ip.dsfield.ecn == 3")
                if tos:
                    rows.append(at_least(f"{name}: marked", 1000, int(marked)))
                    rows.append(at_least(f"{name}: arrived unmarked", 100, result["ecn"]["ect0"]))
                rows.append(table.exactly(f"{name}: CE by tshark", int(marked) if tos else 0, seen))
                rows.append(table.exactly(f"{name}: CE at the program", seen, result["ecn"]["ce"]))
            rows.append(table.exactly("own drops", 0, own_drops(running)))
