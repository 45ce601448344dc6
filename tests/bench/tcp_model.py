#!/usr/bin/env -S python3 -B
"""The model of TCP against the kernel: the same transfers over the engine and in virtual time.

Usage: sudo tests/bench/tcp_model.py [--rate "200 Mbps"] [--rtt "20 ms"] [--loss 0 3e-4 1e-3]
                                     [--repeat N] [--seconds S] [--out FILE]

`farspan bench sendrecv` between two hosts, both directions at once, by the kernel's TCP over the
engine in the namespace lab, then by the model over the same link model; goodput of one direction,
the median of --repeat runs (of as many seeds in virtual time) and their range, and the model's
deviation; beside them what RFC 9438's closed form gives for cubic at that loss and round trip, and
at the one that the kernel saw, which on a busy machine is longer. The link's buffer holds one
round trip at its rate. Half of a run warms it up: a flow that comes from slow start needs some ten
losses to reach what the law says. The load average says how quiet the machine was.
"""

import argparse
import datetime
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent / "scripts"))

from lab.engine import Engine, binary  # noqa: E402
from lab.stats import median  # noqa: E402
from lab.system import ROOT, LabError, run, signals_end_it, stop  # noqa: E402
from lab.topology import Lab  # noqa: E402

BUFFER = 16 << 20  # of sockets: more than any case here needs
WARM_UP, ITERATIONS = 5, 5


def law(rate_bits_per_s, rtt_s, loss):
    """Goodput of one CUBIC flow, RFC 9438, 5.1: packets of 1448 B in frames that take 1538 on the wire."""
    most = rate_bits_per_s * 1448 / 1538
    if loss == 0:
        return most
    window = max((0.4 * 3.7 / 1.2) ** 0.25 * (rtt_s / loss) ** 0.75, (1.5 / loss) ** 0.5)
    return min(most, 1448 * 8 * window / rtt_s)


def message_bytes(goodput_bits_per_s, seconds):
    """What one iteration may send so that all of them take about as long as asked."""
    return int(goodput_bits_per_s / 8 * seconds / (WARM_UP + ITERATIONS)) // 4096 * 4096


def bench_arguments(size):
    return ["sendrecv", "-c", 0, "-b", size, "-e", size, "-n", ITERATIONS, "-w", WARM_UP, "--buffsize", "8M",
            "--tcp-buffer", BUFFER]


def goodput(file):
    row = json.loads(Path(file).read_text())["rows"][0]
    return 8 * row["bytes"] / row["out_of_place"]["time_s"]


def measured(lab, engine_arguments, size, congestion):
    """Bits per second by the kernel, the round trip it saw, and the engine's certificate."""
    a, b = lab.hosts.values()
    farspan = binary("farspan", "transports")
    file = lab.directory / "bench.json"
    common = [farspan, "bench", *bench_arguments(size), "--net", "tcp", "--tcp-congestion",
              congestion, "--timeout", "60 s", "--world", 2, "--root", f"{a.address}:7000"]
    with Engine(lab, *engine_arguments) as engine:
        children = [b.start(*common, "--rank", 1),
                    a.start(*common, "--rank", 0, "--json", file, stdout=subprocess.DEVNULL)]
        try:
            rtts = round_trips(a, children[1])
        finally:
            for child in children:
                stop(child)
        certificate = engine.stop()
    return {"goodput": goodput(file), "rtt_ms": median(rtts),
            "valid": bool(certificate and certificate["valid"]),
            "reasons": certificate["reasons"] if certificate else ["none written"]}


def round_trips(host, child):
    """What the kernel of the sender measures (ms), every second until the child has ended."""
    rtts = []
    while child.poll() is None:
        time.sleep(1)
        lines = host.run("ss", "-tin", "state", "established")
        found = [(int(m.group(2)), float(m.group(1)))
                 for m in re.finditer(r" rtt:([\d.]+)/.* bytes_acked:(\d+)", lines)]
        rtts += [max(found)[1]] if found else []
    if child.returncode != 0:
        raise LabError(f"farspan bench: exit {child.returncode}")
    return sorted(rtts) or [float("nan")]


def modelled(options, loss, size, congestion, seed):
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        run(binary("farspan", "transports"), "bench", *bench_arguments(size), "--net", "sim",
            "--transport", "tcp", "--congestion", congestion, "--rate", options.rate, "--rtt",
            options.rtt, "--queue", options.rtt, "--loss", loss, "--seed", seed, "--json", file.name)
        return goodput(file.name)


def spread(values):
    return {"median": median(sorted(values)), "min": min(values), "max": max(values)}


def text(rows):
    def cell(values):
        return (f"{values['median'] / 1e6:.1f} ({values['min'] / 1e6:.1f}–"
                f"{values['max'] / 1e6:.1f})")
    lines = ["| loss | congestion | kernel, Mb/s | kernel's RTT | model, Mb/s | deviation | "
             "CUBIC's law, at the kernel's RTT | certificates |", "|---|---|---|---|---|---|---|---|"]
    for r in rows:
        valid = sum(run["valid"] for run in r["kernel_runs"])
        lines.append(f"| {r['loss']} | {r['congestion']} | {cell(r['kernel'])} | "
                     f"{r['rtt_ms']:.1f} ms | {cell(r['model'])} | {100 * r['deviation']:+.0f} % | "
                     f"{r['law'] / 1e6:.1f}, {r['law_at_rtt'] / 1e6:.1f} | {valid} of {len(r['kernel_runs'])} valid |")
    return "\n".join(lines)


def compare(lab, options, loss, congestion):
    rate = float(run(binary("farspan", "transports"), "nccl", "--rtt", options.rtt, "--rate",
                     options.rate, "--json").split('"rate_bits_per_s": ')[1].split(",")[0])
    rtt_s = float(options.rtt.split()[0]) * 1e-3
    expected = law(rate, rtt_s, float(loss))
    size = message_bytes(expected, options.seconds)
    arguments = ["--wire", "a,b", "--rtt", options.rtt, "--rate", options.rate, "--limit", options.rtt]
    runs = []
    for seed in range(1, options.repeat + 1):
        lossy = ["--loss", loss, "--set", f"seed={seed}"] if float(loss) > 0 else []
        runs.append(measured(lab, [*arguments, *lossy], size, congestion))
        print(".", end="", file=sys.stderr, flush=True)
    model = [modelled(options, loss, size, congestion, seed)
             for seed in range(1, options.repeat + 1)]
    rtt_ms = median(sorted(r["rtt_ms"] for r in runs))
    row = {"loss": loss, "congestion": congestion, "message_bytes": size, "law": expected,
           "kernel": spread([r["goodput"] for r in runs]), "model": spread(model),
           "law_at_rtt": law(rate, rtt_ms * 1e-3, float(loss)), "rtt_ms": rtt_ms, "kernel_runs": runs,
           "model_runs": model}
    return {**row, "deviation": row["model"]["median"] / row["kernel"]["median"] - 1}


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", default="200 Mbps")
    parser.add_argument("--rtt", default="20 ms", help="in ms")
    parser.add_argument("--loss", nargs="+", default=["0", "3e-4", "1e-3"])
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=30, help="about, per run of cubic")
    parser.add_argument("--out", type=Path, help="write all figures here (JSON)")
    options = parser.parse_args()

    load = [os.getloadavg()]
    with signals_end_it(), Lab(["a", "b"]) as lab:
        rows = [compare(lab, options, loss, congestion) for loss in options.loss
                for congestion in ("cubic", "bbr")]
    load.append(os.getloadavg())
    print(f"\n{options.rate}, {options.rtt}; load average before {load[0][0]:.2f}, after "
          f"{load[1][0]:.2f}\n\n{text(rows)}")
    if options.out:
        commit = run("git", "-C", ROOT, "rev-parse", "HEAD").strip()
        cpu = re.search(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text()).group(1)
        options.out.write_text(json.dumps(
            {"schema": "farspan.tcp_model.v1", "label": {"kernel": "measured", "model": "virtual"},
             "commit": commit, "date": datetime.date.today().isoformat(), "cpu": cpu,
             "cpus": os.cpu_count(), "kernel": os.uname().release, "rate": options.rate,
             "rtt": options.rtt, "load_average": load, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
