#!/usr/bin/env -S python3 -B
"""The engine's speed and lateness beside what the machine can do, in one run.

Usage: sudo tests/bench/engine.py [--out FILE] [--seconds S]

dpdk-testpmd forwarding between two null ports is the floor (before and after); then farspan-emulator
bench at 64, 1500 and 4096 bytes and 0.1, 10 and 50 ms; then at 1 Mpps for lateness, beside the
machine's own spin-loop gaps. Nothing else should run meanwhile.
"""

import argparse
import datetime
import json
import os
import re
import signal
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
    after = testpmd_pps(64)

    floor = (before + after) / 2
    print(f"\ndpdk-testpmd io, two null ports, one core, both directions: "
          f"{before / 1e6:.1f} Mpps before, {after / 1e6:.1f} after")
    for row in speed["results"]:
        row["ratio_to_testpmd"] = row["packets_per_s"] / floor
        print(f"{row['frame_bytes']:>5} B {row['delay_ns'] / 1e6:>5g} ms: "
              f"{row['packets_per_s'] / 1e6:6.2f} Mpps, {row['held_packets']} held, "
              f"{row['ratio_to_testpmd']:.3f} of testpmd")
    if options.out:
        commit = subprocess.run(["git", "-C", ROOT, "rev-parse", "HEAD"], check=True,
                                capture_output=True, text=True).stdout.strip()
        document = {"schema": "farspan.engine_bench.v1", "label": "measured",
                    "date": datetime.date.today().isoformat(), "commit": commit,
                    "cpu": speed["cpu"], "cpus": os.cpu_count(), "hugepages": speed["hugepages"],
                    "testpmd_io_packets_per_s": {"before": before, "after": after},
                    "speed": speed["results"], "paced": paced["results"]}
        options.out.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
