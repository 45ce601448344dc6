#!/usr/bin/env -S python3 -B
"""The round trip that the engine adds in the lab at zero delay, for each idle policy.

Usage: sudo tests/bench/idle.py [--out FILE] [--count N]

Two hosts in namespaces and ping between them: whole round trips, so two crossings of the engine and
two hosts' kernels; with nothing beside, and with a spinning program for every CPU.
"""

import argparse
import contextlib
import datetime
import json
import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent / "scripts"))

from lab.engine import Engine  # noqa: E402
from lab.measure import ping  # noqa: E402
from lab.system import ROOT, stop  # noqa: E402
from lab.topology import Lab  # noqa: E402


@contextlib.contextmanager
def spinners(count):
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            stop(process)


def round_trips(policy, spinning, count):
    with Lab(["a", "b"]) as lab, Engine(lab, "--wire", "a,b", "--delay", "0ns", "--set",
                                        f"engine.idle={policy}"):
        with spinners(os.cpu_count() if spinning else 0):
            times = ping(lab.hosts["a"], lab.hosts["b"], count=count)
    at = lambda q: times[min(len(times) - 1, int(q * len(times)))] / 1e3  # noqa: E731
    return {"idle": policy, "spinning_programs": os.cpu_count() if spinning else 0,
            "round_trips": len(times), "p50_us": at(0.5), "p90_us": at(0.9), "p99_us": at(0.99)}


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="write all figures here (JSON)")
    parser.add_argument("--count", type=int, default=300)
    options = parser.parse_args()
    rows = [round_trips(policy, spinning, options.count)
            for spinning in (False, True) for policy in ("spin", "sleep", "auto")]
    for row in rows:
        print(f"idle = {row['idle']:<6} {row['spinning_programs']} spinning beside: p50 "
              f"{row['p50_us']:8.1f} us, p90 {row['p90_us']:8.1f}, p99 {row['p99_us']:8.1f}")
    if options.out:
        commit = subprocess.run(["git", "-C", ROOT, "rev-parse", "HEAD"], check=True,
                                capture_output=True, text=True).stdout.strip()
        options.out.write_text(json.dumps(
            {"schema": "farspan.idle_bench.v1", "label": "measured", "commit": commit,
             "date": datetime.date.today().isoformat(), "cpus": os.cpu_count(), "rows": rows},
            indent=1) + "\n")


if __name__ == "__main__":
    main()
