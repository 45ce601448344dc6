#!/usr/bin/env -S python3 -B
"""The engine's speed and lateness beside what the machine can do, in one run.

Usage: sudo tests/bench/engine.py [--out FILE] [--seconds S]

dpdk-testpmd forwarding between two null ports is the floor (before and after); then farspan-emulator
bench at 64, 1500 and 4096 bytes and 0.1, 10 and 50 ms; then at 1 Mpps for lateness, beside the
machine's own spin-loop gaps; then without and with the observer of queue pairs, in turn. Nothing
else should run meanwhile.
"""

import argparse
import datetime
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
EMULATOR = Path(os.environ.get("FARSPAN_BUILD", ROOT / "build/release")) / "emulator/farspan-emulator"


def testpmd_pps(size, seconds=4):
    """Packets per second that one core forwards between two null ports, both directions summed."""
    command = ["dpdk-testpmd", "-l", "0,1", "--no-huge", "-m", "512", "--no-shconf", "--no-telemetry",
               "--no-pci", "--vdev", f"net_null0,size={size}", "--vdev", f"net_null1,size={size}",
               "--", "--forward-mode=io", "--auto-start", "--nb-cores=1", "--stats-period", "1",
               "--total-num-mbufs=8192"]
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        time.sleep(seconds)
        process.send_signal(signal.SIGINT)
        process.wait(timeout=20)
        log.seek(0)
        text = log.read()
    rates = [int(r) for r in re.findall(r"Rx-pps:\s+(\d+)", text)]
    periods = [sum(rates[i:i + 2]) for i in range(0, len(rates) - 1, 2)]
    if len(periods) < 2:
        sys.exit(f"dpdk-testpmd gave no rates:\n{text[-2000:]}")
    return sorted(periods[1:])[len(periods[1:]) // 2]


def bench(*arguments):
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        subprocess.run([EMULATOR, "bench", "--reserve-hugepages", "--json", file.name, *arguments],
                       check=True)
        return json.loads(Path(file.name).read_text())


def observer_cost(size, turns=3):
    """Medians of packets per second and cycles per packet, without the observer and with it."""
    arguments = ("--size", str(size), "--delay", "1ms", "--seconds", "0.5")
    turns = [[bench(*arguments, *extra)["results"][0] for extra in ((), ("--observer",))]
             for _ in range(turns)]
    result = {"frame_bytes": size, "delay_ns": 1_000_000, "turns": len(turns)}
    for name, rows in zip(("without", "with"), zip(*turns)):
        result[name] = {"packets_per_s": statistics.median(r["packets_per_s"] for r in rows),
                        "cycles_per_packet": statistics.median(
                            r["cycles_per_packet"]["accept"] + r["cycles_per_packet"]["depart"]
                            for r in rows),
                        "observed": min(r["observed"] for r in rows)}
    result["cost_ns"] = 1e9 * (1 / result["with"]["packets_per_s"]
                               - 1 / result["without"]["packets_per_s"])
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="write all figures here (JSON)")
    parser.add_argument("--seconds", default="2", help="measured, per case")
    options = parser.parse_args()

    before = testpmd_pps(64)
    speed = bench("--seconds", options.seconds)
    paced = bench("--seconds", options.seconds, "--size", "64", "--delay", "10ms",
                  "--packet-rate", "1000000")
    observer = [observer_cost(size) for size in (64, 256, 1024, 4096)]
    after = testpmd_pps(64)

    floor = (before + after) / 2
    print(f"\ndpdk-testpmd io, two null ports, one core, both directions: "
          f"{before / 1e6:.1f} Mpps before, {after / 1e6:.1f} after")
    for row in speed["results"]:
        row["ratio_to_testpmd"] = row["packets_per_s"] / floor
        print(f"{row['frame_bytes']:>5} B {row['delay_ns'] / 1e6:>5g} ms: "
              f"{row['packets_per_s'] / 1e6:6.2f} Mpps, {row['held_packets']} held, "
              f"{row['ratio_to_testpmd']:.3f} of testpmd")
    for row in observer:
        print(f"{row['frame_bytes']:>5} B, queue pairs not followed "
              f"{row['without']['packets_per_s'] / 1e6:.2f} Mpps, followed "
              f"{row['with']['packets_per_s'] / 1e6:.2f}: {row['cost_ns']:.0f} ns a packet")
    if options.out:
        commit = subprocess.run(["git", "-C", ROOT, "rev-parse", "HEAD"], check=True,
                                capture_output=True, text=True).stdout.strip()
        document = {"schema": "farspan.engine_bench.v1", "label": "measured",
                    "date": datetime.date.today().isoformat(), "commit": commit,
                    "cpu": speed["cpu"], "cpus": os.cpu_count(), "hugepages": speed["hugepages"],
                    "testpmd_io_packets_per_s": {"before": before, "after": after},
                    "speed": speed["results"], "paced": paced["results"],
                    "observer": observer}
        options.out.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
