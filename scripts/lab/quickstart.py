"""A long-haul fiber link between two hosts on this machine: what was asked for against what ping,
iperf3 and the lab's probe measured. Without root, or without what network namespaces need, the same
scenario runs in virtual time instead. Results go to out/quickstart-TIME/ as JSON."""

import argparse
import dataclasses
import json
import math
import re
import subprocess
import sys
import time

from lab import measure, table
from lab.engine import Engine, binary, emulator_binary
from lab.stats import clopper_pearson, mathis_bits_per_s
from lab.system import (ROOT, LabError, Unavailable, engine_cpu, give_to_invoker, lab_lacks,
                        on_all_cpus, signals_end_it, start, stop)
from lab.table import Row
from lab.topology import Lab

GROUP_INDEX = 1.4682  # SMF-28e at 1550 nm, as the emulator's default
LIGHT_M_PER_S = 299_792_458
RTT_TOLERANCE_NS = 100_000
MTU = 1500
UDP_PAYLOAD = MTU - 28
PING_WIRE_BYTES = 122  # 56 of payload, ICMP 8, IPv4 20, Ethernet 14, FCS, preamble and gap 24
TCP_PAYLOAD = MTU - 52  # IPv4 20, TCP 20, time stamps 12

UNITS = {"km": 1e3, "m": 1, "Gbps": 1e9, "Mbps": 1e6, "kbps": 1e3, "s": 1e9, "ms": 1e6, "us": 1e3,
         "ns": 1, "%": 0.01}


def quantity(*units):
    """An argument type: a number with one of `units`, as (text, value in base units)."""
    def parse(text):
        match = re.fullmatch(r"\s*([\d.]+(?:e[-+]?\d+)?)\s*(\S*)\s*", text)
        if not match or match.group(2) not in units:
            raise argparse.ArgumentTypeError(f"'{text}': expected a number with "
                                             f"{' or '.join(u or 'no unit' for u in units)}")
        return text, float(match.group(1)) * UNITS.get(match.group(2), 1)
    return parse


@dataclasses.dataclass
class Scenario:
    distance: tuple
    rate: tuple
    loss: tuple
    jitter: tuple
    seconds: float
    limit: str = "200 ms"  # of the queue in front of the fiber: bridges a sender that had to wait

    @property
    def delay_ns(self):
        return self.distance[1] * GROUP_INDEX / LIGHT_M_PER_S * 1e9

    def settings(self):
        """What a live change sets, by name."""
        return {"distance": self.distance[0],
                **({"loss": self.loss[0]} if self.loss[1] > 0 else {}),
                **({"jitter": self.jitter[0]} if self.jitter[1] > 0 else {})}

    def no_fiber(self):
        """A live change to what the hosts, the kernel and the engine do alone, at the same rate."""
        nothing = {"loss": "0", "jitter": "0 us"}
        return {"delay": "0 ms", **{k: nothing[k] for k in self.settings() if k in nothing}}

    def arguments(self):
        arguments = ["--distance", self.distance[0], "--rate", self.rate[0], "--limit", self.limit]
        if self.loss[1] > 0:
            arguments += ["--loss", self.loss[0]]
        if self.jitter[1] > 0:
            arguments += ["--jitter", self.jitter[0]]
        return arguments


def steady_pps(scenario):
    """At most half the cap, so that nothing waits."""
    return min(4000, 0.5 * measure.packets_per_s(scenario.rate[1], UDP_PAYLOAD))


def spread(delay):
    """Half the distance of the quantiles at ±1 standard deviation: tails do not count."""
    return (delay["p84"] - delay["p16"]) / 2


def rtt_rows(lab, engine, scenario, results, say):
    say("round trips: ping and the probe, over the fiber and in turn over none")
    interval_s = max(0.002, 100 * 8 * PING_WIRE_BYTES / scenario.rate[1])  # 1 % of the cap at most
    trips = measure.beside_the_floor(*lab.hosts.values(), lambda: engine.set(**scenario.no_fiber()),
                                     lambda: engine.set(**scenario.settings()),
                                     interval_s=interval_s)
    results["round_trips_ns"] = trips._asdict()
    return [table.within(name, 2 * scenario.delay_ns, measured, RTT_TOLERANCE_NS, "ms", 1e6,
                         f"2 x {scenario.delay_ns / 1e6:.4f} ms of fiber; floor "
                         f"{floor / 1e3:.0f} us, taken off")
            for name, measured, floor in (("RTT, median of ping", trips.ping, trips.ping_floor),
                                          ("RTT, median of the probe", trips.probe,
                                           trips.probe_floor))]


def path_rows(lab, engine, scenario, results, say):
    """Jitter, loss and order from one steady stream of full-size packets.

    Full-size, because the probability of loss is that of a reference frame's time on the wire.
    """
    a, b = lab.hosts.values()
    pps = steady_pps(scenario)
    engine.set(**scenario.no_fiber())
    floor = measure.probe(a, b, pps, 2 * pps, UDP_PAYLOAD)["delay_ns"]
    engine.set(**scenario.settings())
    say(f"jitter, loss and order: {pps:.0f} packets/s for {scenario.seconds:g} s")
    drops = lambda: engine.metric("farspan_link_emulated_dropped_packets_total", direction="ab")
    before = drops()
    stream = measure.probe(a, b, pps, pps * scenario.seconds, UDP_PAYLOAD, idle_s=2)
    dropped = drops() - before
    stream.pop("gaps")
    results["stream"], results["one_way_floor_ns"] = stream, floor
    asked = math.hypot(scenario.jitter[1], spread(floor))
    low, high = clopper_pearson(stream["lost"], stream["sent"])
    return [
        table.within("jitter, standard deviation", asked, spread(stream["delay_ns"]),
                     0.1 * scenario.jitter[1] + 20_000, "us", 1e3,
                     "from the quantiles at ±1 deviation; floor included"),
        Row("loss", f"{scenario.loss[1]:.3g}", f"{stream['lost'] / stream['sent']:.3g}",
            low <= scenario.loss[1] <= high,
            f"{stream['lost']} of {stream['sent']}; exact 99.9 % interval {low:.2e} to {high:.2e}",
            {"asked": scenario.loss[1], "lost": stream["lost"], "sent": stream["sent"]}),
        table.exactly("loss, by the engine's counter", int(dropped), stream["lost"],
                      "the same packets, counted by both sides"),
        table.exactly("reordered (RFC 4737)", 0, stream["reordered"]),
        table.exactly("duplicated, corrupted", 0, stream["duplicates"] + stream["corrupted"]),
    ]


def rate_rows(lab, scenario, results, say):
    """UDP above the cap twice, TCP below what it can be."""
    a, b = lab.hosts.values()
    cap, delivered = scenario.rate[1], 1 - scenario.loss[1]
    offered = 1.2 * cap
    say("rate: the probe at 1.2 x the cap")
    pps = measure.packets_per_s(offered, UDP_PAYLOAD)
    probe = measure.probe(a, b, pps, pps * scenario.seconds / 2, UDP_PAYLOAD, batch=8, idle_s=2)
    probe.pop("gaps")
    say("rate: iperf3 UDP at 1.2 x the cap")
    payload_share = UDP_PAYLOAD / measure.wire_bytes(UDP_PAYLOAD)
    udp = measure.iperf3(a, b, "-u", "-b", f"{offered * payload_share:.0f}", "-l", UDP_PAYLOAD,
                         seconds=max(5, scenario.seconds / 2))
    say("TCP: iperf3")
    tcp = measure.iperf3(a, b, seconds=scenario.seconds)
    results.update(rate=probe, iperf3_udp=udp["end"], iperf3_tcp=tcp["end"])
    goodput, retransmits = measure.tcp_goodput(tcp)
    wire = MTU + 38
    most = cap * TCP_PAYLOAD / wire
    rtt = 2 * scenario.delay_ns / 1e9
    model = (min(most, mathis_bits_per_s(TCP_PAYLOAD, rtt, scenario.loss[1]))
             if scenario.loss[1] > 0 else most)
    return [
        table.within("rate on the wire, probe", cap * delivered, probe["wire_bits_per_s"],
                     0.01 * cap, "Mb/s", 1e6, f"receiving socket dropped {probe['socket_dropped']}"),
        table.within("UDP payload, iperf3", cap * delivered * payload_share,
                     measure.udp_goodput(udp), 0.01 * cap * payload_share, "Mb/s", 1e6),
        Row("TCP payload, iperf3", f"≤ {most / 1e6:.2f} Mb/s", f"{goodput / 1e6:.2f} Mb/s",
            0.25 * model <= goodput <= 1.005 * most,
            f"{retransmits} retransmissions; one Reno flow at this loss: {model / 1e6:.1f} Mb/s",
            {"most": most, "measured": goodput, "mathis": model}),
    ]


def certificate_rows(certificate):
    if certificate is None:
        return [Row("certificate", "VALID", "none written", False)]
    lateness = max((port["lateness"] for port in certificate["ports"]), key=lambda h: h["p50_ns"])
    valid, reasons = certificate["valid"], certificate["reasons"]
    return [
        table.exactly("packets that left early", 0, sum(p["early"] for p in certificate["ports"]),
                      f"late by {lateness['p50_ns'] / 1e3:.1f} us (median), "
                      f"{lateness['p99_ns'] / 1e3:.1f} us (p99)"),
        Row("certificate", "VALID", "VALID" if valid else "INVALID", valid,
            f"{len(reasons)} reasons, below" if reasons else "")]


def run_lab(scenario, keep, out, say):
    results = {}
    with Lab(["a", "b"], mtu=MTU) as lab:
        say("two hosts in network namespaces, the engine between them")
        # Where it has a CPU to itself it need not sleep, and a round trip does not wait for its waking.
        idle = ["--set", "engine.idle=spin"] if engine_cpu() is not None else []
        with Engine(lab, "--wire", "a,b", *idle, *scenario.arguments()) as engine:
            say("the link: " + " ".join(scenario.arguments()))
            rows = rtt_rows(lab, engine, scenario, results, say)
            rows += path_rows(lab, engine, scenario, results, say)
            rows += rate_rows(lab, scenario, results, say)
            own = (engine.metric("farspan_link_own_dropped_packets_total")
                   + engine.metric("farspan_port_own_dropped_packets_total"))
            rows.append(table.exactly("the emulator's own drops", 0, int(own)))
            if keep:
                wait_for_enter(lab, engine)
            certificate = engine.stop()
        rows += certificate_rows(certificate)
        results["invalid"] = certificate["reasons"] if certificate else []
        (out / "engine.log").write_text((lab.directory / "engine.log").read_text())
        (out / "certificate.json").write_text(json.dumps(certificate, indent=2) + "\n")
    return rows, results


TRANSPORTS = """title = "Span beside kernel TCP on this link, a message each way"
samples = 2
warm_up = 0
payload = "1408 B"
sites = [{{name = "a"}}, {{name = "b"}}]
contenders = [{{congestion = "bbr"}}, {{congestion = "fixed"}},
              {{transport = "tcp", tuning = "default", channels = 1}},
              {{transport = "tcp", channels = 1}},
              {{transport = "tcp", congestion = "bbr", tuning = "default", channels = 1}},
              {{transport = "tcp", congestion = "bbr", channels = 1}}]
[link]
{link}
[collective]
kind = "sendrecv"
sizes = ["{size}"]
"""


def compare_transports(scenario, out, say):
    """`farspan compare --real` on this link; its figures and certificates go to transports.json. A
    row that says whether every contender was done, with a certificate that is valid."""
    say("transports: Span and kernel TCP on this link, by turns (farspan compare --real)")
    link = {**scenario.settings(), "rate": scenario.rate[0], "limit": scenario.limit}
    one_second = int(scenario.rate[1] / 8 / 65536) * 65536 or 65536
    (out / "transports.toml").write_text(TRANSPORTS.format(
        link="\n".join(f'{key} = "{value}"' for key, value in link.items()),
        size=f"{one_second} B"))
    print(flush=True)
    figures = out / "transports.json"
    process = start(*on_all_cpus(binary("farspan", "transports"), "compare", out / "transports.toml",
                                 "--real", "--json", figures))
    try:
        code = process.wait()
    finally:
        stop(process, grace_s=30)  # it has a lab to take back
    print(flush=True)
    rows = json.loads(figures.read_text())["rows"] if figures.exists() else []
    failed = [row["contender"] for row in rows if "failure" in row]
    return Row("transports compared", "all", ", ".join(f"{name} failed" for name in failed) or
               ("all" if code == 0 else f"farspan compare: exit code {code}"),
               code == 0 and not failed)


def wait_for_enter(lab, engine):
    a, b = lab.hosts.values()
    print(f"\nThe lab stays until you press Enter:\n  sudo ip netns exec {a.namespace} ping "
          f"{b.address}\n  sudo curl --unix-socket {engine.socket} http://localhost/api/v1/links")
    sys.stdin.readline()


def run_virtual(scenario, out):
    """The same scenario by the emulator's own simulation; it prints the table."""
    command = [emulator_binary(), "simulate", *scenario.arguments(), "--seconds",
               f"{scenario.seconds:g}", "--json", out / "results.json"]
    process = start(*command)
    try:
        return process.wait()
    finally:
        stop(process)


def parse_arguments():
    parser = argparse.ArgumentParser(prog="scripts/quickstart.sh", description=__doc__)
    parser.add_argument("--distance", type=quantity("km", "m"), default="1000 km",
                        help="length of the fiber (default: %(default)s)")
    parser.add_argument("--rate", type=quantity("kbps", "Mbps", "Gbps"), default="100 Mbps",
                        help="bottleneck, at the size on the wire (default: %(default)s)")
    parser.add_argument("--loss", type=quantity("", "%"), default="1e-3",
                        help="probability of loss, 0 for none (default: %(default)s)")
    parser.add_argument("--jitter", type=quantity("ns", "us", "ms"), default="200 us",
                        help="standard deviation, in order (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=10, help="of the longest measurement")
    parser.add_argument("--virtual", action="store_true", help="virtual time even as root")
    parser.add_argument("--rdma", action="store_true",
                        help="RDMA hosts in virtual machines instead; --rdma --help tells more")
    parser.add_argument("--keep", action="store_true", help="keep the lab until Enter is pressed")
    args = parser.parse_args()
    if args.seconds < 1:
        parser.error("--seconds must be at least 1")
    return args


def write_results(out, asked, rows, measurements):
    """results.json of a quickstart; whether every row passed."""
    passed = all(row.passed for row in rows)
    (out / "results.json").write_text(json.dumps(
        {"schema": "farspan.quickstart.v1", "label": "measured", "pass": passed, "asked": asked,
         "rows": [row.to_json() for row in rows], "measurements": measurements}, indent=2) + "\n")
    give_to_invoker(out.parent)
    return passed


def main():
    args = parse_arguments()
    scenario = Scenario(args.distance, args.rate, args.loss, args.jitter, args.seconds)
    say = lambda text: print(f"quickstart: {text}", flush=True)
    out = ROOT / "out" / time.strftime("quickstart-%Y%m%d-%H%M%S")
    out.mkdir(parents=True, exist_ok=True)
    reason = "as asked with --virtual" if args.virtual else lab_lacks()
    try:
        with signals_end_it():
            if reason is not None:
                say(f"no lab: {reason}")
                say("the same scenario in virtual time: figures are labelled virtual")
                return run_virtual(scenario, out)
            rows, results = run_lab(scenario, args.keep, out, say)
            print("\n" + table.text(rows) + "\n")
            for reason in results["invalid"]:
                say(f"INVALID: {reason}")
            write_results(out, dataclasses.asdict(scenario), rows, results)
            rows.append(compare_transports(scenario, out, say))
            if not rows[-1].passed:
                say(f"FAIL: transports compared: {rows[-1].measured}")
            passed = write_results(out, dataclasses.asdict(scenario), rows, results)
    except (LabError, subprocess.SubprocessError) as error:
        say(f"failed: {error}")
        return 3 if isinstance(error, Unavailable) else 1
    finally:
        if not any(out.iterdir()):
            out.rmdir()
        give_to_invoker(out.parent)
    say(f"results and certificate: {out.relative_to(ROOT)}/")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
