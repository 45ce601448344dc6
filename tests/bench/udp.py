#!/usr/bin/env -S python3 -B
"""Span over UDP beside iperf3 over UDP, on the loopback interface.

Usage: sudo tests/bench/udp.py [--repeat N] [--seconds S] [--out FILE]

Goodput per core is payload over the CPU time of both ends, softirqs included. iperf3 sends
datagrams of the same payload, unpaced and unacknowledged: the floor. The noise floor is iperf3's
own spread over the repeats, which take turns.
"""

import argparse
import datetime
import json
import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent / "scripts"))

from lab import measure  # noqa: E402
from lab.stats import median  # noqa: E402
from lab.system import ROOT, realtime, run, start  # noqa: E402

PAYLOAD = 1408


class Loopback:
    """This machine as both hosts; everybody with real-time priority, so that others cost little."""
    address = "127.0.0.1"

    @staticmethod
    def run(*command, **options):
        return run(*realtime(10, *command), **options)

    @staticmethod
    def start(*command, **options):
        return start(*realtime(10, *command), **options)


def row(payload_bits, seconds, cpu):
    return {"goodput_bits_per_s": payload_bits / seconds, "cpu": cpu.seconds,
            "bits_per_cpu_s": payload_bits / cpu.seconds["total_s"]}


def iperf3(seconds, *options):
    with measure.CpuTime() as cpu:
        result = measure.iperf3(Loopback, Loopback, *options, seconds=seconds)
    end = result["end"]
    if "sum" in end:  # UDP: what was sent, and how much of it was lost
        received = end["sum"]["bytes"] * (1 - end["sum"]["lost_percent"] / 100)
    else:
        received = end["sum_received"]["bytes"]
    return row(8 * received, seconds, cpu)


def flow(seconds, *options):
    result = measure.flow(Loopback, Loopback, *options, "--seconds", f"{seconds} s")
    bits = 8 * result["bytes"]
    return {"goodput_bits_per_s": bits / result["seconds"], "cpu": result["cpu"],
            "bits_per_cpu_s": bits / result["cpu"]["total_s"]}


CONTENDERS = {
    "iperf3 UDP": lambda s: iperf3(s, "-u", "-b", "0", "-l", PAYLOAD),
    "span, bbr": lambda s: flow(s, "--net", "udp", "--payload", str(PAYLOAD), "--congestion", "bbr"),
    "span, cubic": lambda s: flow(s, "--net", "udp", "--payload", str(PAYLOAD), "--congestion",
                                  "cubic"),
    "span, fixed at 1 Gbps": lambda s: flow(s, "--net", "udp", "--payload", str(PAYLOAD),
                                            "--congestion", "fixed", "--rate", "1 Gbps"),
    "iperf3 TCP": lambda s: iperf3(s),
    "farspan-flow over TCP": lambda s: flow(s, "--net", "tcp"),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--out", type=Path, help="write all figures here (JSON)")
    options = parser.parse_args()
    load = [os.getloadavg()]
    runs = {name: [] for name in CONTENDERS}
    for _ in range(options.repeat):
        for name, contender in CONTENDERS.items():
            runs[name].append(contender(options.seconds))
    load.append(os.getloadavg())
    floor = median([r["bits_per_cpu_s"] for r in runs["iperf3 UDP"]])
    rows = []
    print("| contender | goodput, Gb/s | Gb per CPU second (range) | of iperf3 UDP |\n|---|---|---|---|")
    for name, of in runs.items():
        per_cpu = sorted(r["bits_per_cpu_s"] for r in of)
        goodput = median([r["goodput_bits_per_s"] for r in of])
        rows.append({"contender": name, "goodput_bits_per_s": goodput,
                     "bits_per_cpu_s": median(per_cpu), "ratio_to_iperf3": median(per_cpu) / floor,
                     "runs": of})
        print(f"| {name} | {goodput / 1e9:.2f} | {median(per_cpu) / 1e9:.2f} ({per_cpu[0] / 1e9:.2f}–"
              f"{per_cpu[-1] / 1e9:.2f}) | {median(per_cpu) / floor:.2f} |")
    print(f"\nload average before {load[0][0]:.2f}, after {load[1][0]:.2f}")
    if options.out:
        commit = subprocess.run(["git", "-C", ROOT, "rev-parse", "HEAD"], check=True,
                                capture_output=True, text=True).stdout.strip()
        options.out.write_text(json.dumps(
            {"schema": "farspan.udp_bench.v1", "label": "measured", "commit": commit,
             "date": datetime.date.today().isoformat(), "cpus": os.cpu_count(),
             "payload_bytes": PAYLOAD, "load_average": load, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
