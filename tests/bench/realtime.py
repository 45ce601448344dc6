#!/usr/bin/env -S python3 -B
"""Span against kernel TCP in real time: two hosts in namespaces, the engine between them.

Usage: sudo tests/bench/realtime.py [--rate "400 Mbps"] [--rtt "20 ms"] [--loss 0 1e-4 1e-3]
                                    [--repeat N] [--seconds S] [--beside] [--out FILE]

For every loss every contender in turn, the whole round --repeat times, each with an engine of its
own so that each has a certificate; medians and ranges. The link's buffer holds one round trip at
its rate. How noisy the machine is, the load average before and after says; with
FARSPAN_LAB_REALTIME=1 the engine has real-time priority, as the flows always do.

With --beside instead: what is left to a flow of kernel TCP (cubic) beside one of Span, and how much
that harms it: 1 - its goodput / its goodput beside another of its kind.
"""

import argparse
import datetime
import json
import os
import re
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent / "scripts"))

from lab import transports  # noqa: E402
from lab.engine import Engine  # noqa: E402
from lab.stats import median  # noqa: E402
from lab.system import ROOT  # noqa: E402
from lab.topology import Lab  # noqa: E402


def link(options):
    """The engine's arguments. What spins must not have real-time priority: the kernel stops it."""
    spin = [] if os.environ.get("FARSPAN_LAB_REALTIME") == "1" else ["--set", "engine.idle=spin"]
    return ["--wire", "a,b", "--rtt", options.rtt, "--rate", options.rate, "--limit", options.rtt,
            *spin]


def one_run(lab, contender, arguments, options):
    a, b = lab.hosts.values()
    with Engine(lab, *arguments) as engine:
        row = transports.run(contender, a, b, engine, options.seconds)
        certificate = engine.stop()
    row["certificate"] = "VALID" if certificate and certificate["valid"] else "INVALID"
    row["reasons"] = certificate["reasons"] if certificate else ["none written"]
    return row


def summary(name, loss, runs):
    def spread(key):
        values = sorted(r[key] for r in runs)
        return {"median": median(values), "min": values[0], "max": values[-1]}
    return {"contender": name, "loss": loss, "goodput_bits_per_s": spread("goodput_bits_per_s"),
            "cpu_s_per_GB": spread("cpu_s_per_GB"), "certificates": [r["certificate"] for r in runs],
            "runs": runs}


def beside_tcp(lab, options):
    """Rows of (what stands beside TCP cubic, TCP's goodput, the other's)."""
    a, b = lab.hosts.values()
    tcp = transports.Contender("tcp, cubic", ("--net", "tcp", "--tcp-congestion", "cubic"))
    span = [transports.Contender(f"span, {c}", ("--net", "udp", "--congestion", c))
            for c in ("bbr", "cubic", "swift")]
    rows = []
    for other in (tcp, *span):
        runs = []
        for _ in range(options.repeat):
            with Engine(lab, *link(options)) as engine:
                runs.append(transports.beside([tcp, other], a, b, engine, options.seconds))
                valid = (engine.stop() or {}).get("valid", False)
            runs[-1].append("VALID" if valid else "INVALID")
        left, taken = (median([r[i] for r in runs]) for i in (0, 1))
        fair = rows[0]["tcp_bits_per_s"] if rows else left
        rows.append({"beside": other.name, "tcp_bits_per_s": left, "other_bits_per_s": taken,
                     "harm": 1 - left / fair, "runs": runs})
        print(f"| {other.name} | {left / 1e6:.1f} | {taken / 1e6:.1f} | {1 - left / fair:.2f} | "
              f"{[r[2] for r in runs].count('VALID')} of {len(runs)} valid |", flush=True)
    return rows


def text(rows):
    def cell(values, scale, digits):
        return (f"{values['median'] / scale:.{digits}f} ({values['min'] / scale:.{digits}f}–"
                f"{values['max'] / scale:.{digits}f})")
    lines = ["| loss | contender | goodput, Mb/s | CPU s per GB | certificates |", "|---|---|---|---|---|"]
    for r in rows:
        valid = sum(c == "VALID" for c in r["certificates"])
        lines.append(f"| {r['loss']} | {r['contender']} | {cell(r['goodput_bits_per_s'], 1e6, 1)} | "
                     f"{cell(r['cpu_s_per_GB'], 1, 2)} | {valid} of {len(r['certificates'])} valid |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", default="400 Mbps")
    parser.add_argument("--rtt", default="20 ms")
    parser.add_argument("--loss", nargs="+", default=["0", "1e-4", "1e-3"])
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--beside", action="store_true", help="kernel TCP beside Span instead")
    parser.add_argument("--out", type=Path, help="write all figures here (JSON)")
    options = parser.parse_args()

    load = [os.getloadavg()]
    rows = []
    with Lab(["a", "b"]) as lab:
        if options.beside:
            print("| beside TCP cubic | TCP, Mb/s | the other | harm | certificates |\n|---|---|---|---|---|")
            rows = beside_tcp(lab, options)
        for loss in options.loss if not options.beside else ():
            arguments = link(options) + (["--loss", loss] if float(loss) > 0 else [])
            everybody = transports.contenders(options.rate)
            runs = {c.name: [] for c in everybody}
            for _ in range(options.repeat):
                for contender in everybody:
                    runs[contender.name].append(one_run(lab, contender, arguments, options))
                    print(".", end="", file=sys.stderr, flush=True)
            rows += [summary(name, loss, of) for name, of in runs.items()]
    load.append(os.getloadavg())
    if not options.beside:
        print(f"\n{text(rows)}")
    print(f"\n{options.rate}, {options.rtt}; load average before {load[0][0]:.2f}, after "
          f"{load[1][0]:.2f}")
    if options.out:
        commit = subprocess.run(["git", "-C", ROOT, "rev-parse", "HEAD"], check=True,
                                capture_output=True, text=True).stdout.strip()
        cpu = re.search(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text()).group(1)
        options.out.write_text(json.dumps(
            {"schema": "farspan.realtime_bench.v1", "label": "measured", "commit": commit,
             "date": datetime.date.today().isoformat(), "cpu": cpu, "cpus": os.cpu_count(),
             "rate": options.rate, "rtt": options.rtt, "seconds": options.seconds,
             "load_average": load, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
