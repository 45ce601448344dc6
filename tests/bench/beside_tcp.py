#!/usr/bin/env -S python3 -B
"""What is left to a flow of kernel TCP (cubic) beside one of Span, in real time, and how much that
harms it: 1 - its goodput / its goodput beside another of its kind.

Usage: sudo tests/bench/beside_tcp.py [--rate "400 Mbps"] [--rtt "20 ms"] [--repeat N] [--seconds S]
                                      [--out FILE]

Two hosts in namespaces, an engine of its own for every run; its buffer holds one round trip at its
rate. Medians. How noisy the machine is, the load average before and after says; with
FARSPAN_LAB_REALTIME=1 the engine has real-time priority, as the flows always do.
"""

import argparse
import concurrent.futures
import datetime
import json
import os
import re
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent / "scripts"))

from lab import measure  # noqa: E402
from lab.engine import Engine  # noqa: E402
from lab.stats import median  # noqa: E402
from lab.system import ROOT  # noqa: E402
from lab.topology import Lab  # noqa: E402

TCP = ("tcp, cubic", ("--net", "tcp", "--tcp-congestion", "cubic"))
OTHERS = (TCP, *((f"span, {c}", ("--net", "udp", "--congestion", c))
                 for c in ("bbr", "cubic", "swift")))


def link(options):
    """The engine's arguments. What spins must not have real-time priority: the kernel stops it."""
    spin = [] if os.environ.get("FARSPAN_LAB_REALTIME") == "1" else ["--set", "engine.idle=spin"]
    return ["--wire", "a,b", "--rtt", options.rtt, "--rate", options.rate, "--limit", options.rtt,
            *spin]


def together(both, a, b, seconds, omit_s=2):
    """Goodputs of two flows at once from a to b."""
    def one(i, options):
        return measure.flow(a, b, *options, "--message", "100K", "--depth", "32", "--seconds",
                            f"{seconds} s", "--omit", f"{omit_s} s", "--timeout", "30 s",
                            port=5700 + i, limit_s=seconds + 60)["goodput_bits_per_s"]
    with concurrent.futures.ThreadPoolExecutor(len(both)) as pool:
        return list(pool.map(one, range(len(both)), both))


def measure_all(lab, options):
    """Rows of (what stands beside TCP cubic, TCP's goodput, the other's)."""
    a, b = lab.hosts.values()
    rows = []
    for name, other in OTHERS:
        runs = []
        for _ in range(options.repeat):
            with Engine(lab, *link(options)) as engine:
                runs.append(together([TCP[1], other], a, b, options.seconds))
                valid = (engine.stop() or {}).get("valid", False)
            runs[-1].append("VALID" if valid else "INVALID")
        left, taken = (median([r[i] for r in runs]) for i in (0, 1))
        fair = rows[0]["tcp_bits_per_s"] if rows else left
        rows.append({"beside": name, "tcp_bits_per_s": left, "other_bits_per_s": taken,
                     "harm": 1 - left / fair, "runs": runs})
        print(f"| {name} | {left / 1e6:.1f} | {taken / 1e6:.1f} | {1 - left / fair:.2f} | "
              f"{[r[2] for r in runs].count('VALID')} of {len(runs)} valid |", flush=True)
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", default="400 Mbps")
    parser.add_argument("--rtt", default="20 ms")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--out", type=Path, help="write all figures here (JSON)")
    options = parser.parse_args()

    load = [os.getloadavg()]
    print("| beside TCP cubic | TCP, Mb/s | the other | harm | certificates |\n|---|---|---|---|---|")
    with Lab(["a", "b"]) as lab:
        rows = measure_all(lab, options)
    load.append(os.getloadavg())
    print(f"\n{options.rate}, {options.rtt}; load average before {load[0][0]:.2f}, after "
          f"{load[1][0]:.2f}")
    if options.out:
        commit = subprocess.run(["git", "-C", ROOT, "rev-parse", "HEAD"], check=True,
                                capture_output=True, text=True).stdout.strip()
        cpu = re.search(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text()).group(1)
        options.out.write_text(json.dumps(
            {"schema": "farspan.beside_tcp.v1", "label": "measured", "commit": commit,
             "date": datetime.date.today().isoformat(), "cpu": cpu, "cpus": os.cpu_count(),
             "rate": options.rate, "rtt": options.rtt, "seconds": options.seconds,
             "load_average": load, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
