#!/usr/bin/env -S python3 -B
"""The round trip that the engine adds in the lab at zero delay, for each idle policy.

Usage: sudo tests/bench/idle.py [--out FILE] [--count N]

Two hosts in namespaces and ping between them: whole round trips, so two crossings of the engine and
two hosts' kernels; one ping after another, and isolated ones 50 ms apart; with nothing beside, and
with a spinning program for every CPU.
"""

import argparse
import contextlib
import datetime
import json
import os
import re
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent / "scripts"))

from lab.engine import Engine  # noqa: E402
from lab.measure import ping  # noqa: E402
from lab.system import ROOT, realtime, stop  # noqa: E402
from lab.topology import Lab  # noqa: E402


@contextlib.contextmanager
def spinners(count):
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            stop(process)


def isolated(source, target, count, interval_s=0.05):
    out = source.run(*realtime(10, "ping", "-n", "-c", count, "-i", interval_s, target.address))
    return sorted(float(t) * 1e6 for t in re.findall(r" time=([\d.]+) ms", out))


def quantiles(times):
    at = lambda q: times[min(len(times) - 1, int(q * len(times)))] / 1e3  # noqa: E731
    return {"round_trips": len(times), "p50_us": at(0.5), "p90_us": at(0.9), "p99_us": at(0.99)}


def round_trips(policy, spinning, count):
    with Lab(["a", "b"]) as lab, Engine(lab, "--wire", "a,b", "--delay", "0ns", "--set",
                                        f"engine.idle={policy}"):
        a, b = lab.hosts.values()
        with spinners(os.cpu_count() if spinning else 0):
            return {"idle": policy, "spinning_programs": os.cpu_count() if spinning else 0,
                    "in_turn": quantiles(ping(a, b, count=count)),
                    "isolated": quantiles(isolated(a, b, count))}


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="write all figures here (JSON)")
    parser.add_argument("--count", type=int, default=300)
    options = parser.parse_args()
    rows = [round_trips(policy, spinning, options.count)
            for spinning in (False, True) for policy in ("spin", "sleep", "auto")]
    for row in rows:
        for way in ("in_turn", "isolated"):
            print(f"idle = {row['idle']:<6} {row['spinning_programs']} spinning beside, {way:<8}: p50 "
                  f"{row[way]['p50_us']:8.1f} us, p90 {row[way]['p90_us']:8.1f}, p99 "
                  f"{row[way]['p99_us']:8.1f}")
    if options.out:
        commit = subprocess.run(["git", "-C", ROOT, "rev-parse", "HEAD"], check=True,
                                capture_output=True, text=True).stdout.strip()
        options.out.write_text(json.dumps(
            {"schema": "farspan.idle_bench.v2", "label": "measured", "commit": commit,
             "date": datetime.date.today().isoformat(), "cpus": os.cpu_count(), "rows": rows},
            indent=1) + "\n")


if __name__ == "__main__":
    main()
