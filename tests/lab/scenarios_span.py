"""Span over UDP between two hosts: whatever the link does, every byte comes once and in order."""

import json
import os
import shutil
import signal
import subprocess
import tempfile
import threading
from pathlib import Path

from harness import at_least, engine, scenario
from lab import measure, table
from lab.engine import binary
from lab.system import ROOT, Unavailable, run, stop, wait_until
from lab.topology import STATE, Lab

BAD_LINK = ("--delay", "5 ms", "--rate", "200 Mbps", "--limit", "20 ms", "--loss", "1e-2",
            "--set", 'link.wire.jitter={deviation="300 us", reorder=true}',
            "--set", "link.wire.duplicate=1e-2", "--set", "link.wire.corrupt=1e-2")
BURSTS = ("--delay", "20 ms", "--rate", "200 Mbps", "--limit", "20 ms", "--set",
          'link.wire.loss={model="gilbert-elliott", p="1e-3", r="10 %"}')
FLOW = ("--net", "udp", "--check", "--vary", "--message", "100K", "--depth", "4")
CONTROLLERS = ("fixed", "cubic", "bbr", "swift", "dcqcn")


def _flow_rows(rows, name, a, b, *options):
    result = measure.flow(a, b, *FLOW, *options, limit_s=30)
    rows.append(table.exactly(f"{name}: messages wrong or missing", 0,
                              result["wrong"] + result["sent"]["messages"] - result["messages"],
                              f"{result['messages']} messages, {result['bytes']} bytes"))
    rows.append(at_least(f"{name}: messages", 1, result["messages"]))
    return result["messages"]


def _each_controller(rows, a, b, recovery):
    count = 0
    for congestion in CONTROLLERS:
        count += _flow_rows(rows, f"{recovery}, {congestion}", a, b, "--recovery", recovery,
                            "--congestion", congestion, "--rate", "50 Mbps", "--seconds", "300 ms")
    rows.append(at_least(f"{recovery}: messages in all", 10 * len(CONTROLLERS), count))


@scenario
def span_correctness(rows):
    """The pairs of recovery and controller that virtual time takes through 10,000 scenarios, one
    path each; go-back-N where the order is kept, as it would repeat all that is overtaken. How late
    the engine is does not matter here, so its certificate is not asked."""
    with Lab(["a", "b"]) as lab:
        a, b = lab.hosts.values()
        with engine(lab, *BAD_LINK, valid=False) as running:
            for recovery in ("sr", "ec", "auto"):
                _each_controller(rows, a, b, recovery)
            cut = threading.Timer(0.5, running.call, ("POST", "/api/v1/links/wire/cut",
                                                      {"for": "300 ms"}))
            cut.start()
            _flow_rows(rows, "an outage of 300 ms", a, b, "--recovery", "auto", "--seconds",
                       "800 ms")
            cut.join()
            for name in ("emulated_dropped", "duplicated", "corrupted"):
                count = running.metric(f"farspan_link_{name}_packets_total")
                rows.append(at_least(f"packets {name.replace('_', ' ')} by the link", 1, int(count)))
            lost = running.metric("farspan_link_emulated_dropped_packets_total", cause="cut")
            rows.append(at_least("packets lost in the outage", 1, int(lost)))
            spoilt = measure.flow(a, b, *FLOW, "--seconds", "200 ms", "--spoil", "3", limit_s=30)
            rows.append(table.exactly("the twin: one byte sent wrong", 1, spoilt["wrong"]))
        with engine(lab, *BURSTS, valid=False):
            _each_controller(rows, a, b, "gbn")


SMALL_COMPARISON = """samples = 2
payload = "1408 B"
limit = "20 s"
sites = [{name = "here"}, {name = "there"}]
contenders = [{congestion = "bbr"}, {transport = "tcp", channels = 1}, {transport = "plain_tcp.so"}]
[link]
delay = "10 ms"
rate = "40 Mbps"
[[link.timeline]]
at = "50 ms"
action = "cut"
for = "40 ms"
[collective]
kind = "sendrecv"
sizes = ["1 MiB"]
"""
LEAST_S = 0.010 + 1.05 * 8 * (1 << 20) / 40e6 + 0.040  # a delay, the bytes, the cut


def _left_of_a_comparison(command, directory, number):
    """What a comparison leaves that a signal ends while its lab stands, the moment it has ended."""
    process = subprocess.Popen(list(map(str, command)), env={**os.environ, "TMPDIR": directory})
    try:
        lab = wait_until(lambda: run("pgrep", "-P", process.pid, check=False).strip(), 10, "the lab")
        wait_until((STATE / f"{lab}.json").exists, 20, "the lab's record")
        process.send_signal(number)
        process.wait(60)
    finally:
        stop(process)
    return [str(path) for path in (*Path(directory).glob("farspan-compare-*"),
                                   *STATE.glob(f"{lab}*"))]


@scenario
def compare_real(rows):
    """farspan compare --real: rows as of virtual time, with certificates. How fast does not matter
    here, but nobody is faster than the link, and the cut lies within each transfer."""
    with tempfile.TemporaryDirectory() as directory:
        toml, out = Path(directory, "small.toml"), Path(directory, "out.json")
        toml.write_text(SMALL_COMPARISON)
        run("c++", "-std=c++17", "-shared", "-fPIC", "-I", ROOT / "transports/abi", "-o",
            Path(directory, "plain_tcp.so"), ROOT / "transports/examples/plain_tcp/plain_tcp.cc")
        farspan = binary("farspan", "transports")
        subprocess.run([farspan, "compare", toml, "--real", "--json", out], timeout=200, check=False)
        compared = json.loads(out.read_text())
        rows.append(table.exactly("label", "measured", compared["label"]))
        rows.append(table.exactly("contenders", ["span auto, bbr", "tcp cubic, tuned", "plain_tcp"],
                                  [row["contender"] for row in compared["rows"]]))
        for row in compared["rows"]:
            name = row["contender"]
            rows.append(table.exactly(f"{name}: failure", "none", row.get("failure", "none")))
            rows.append(at_least(f"{name}: seconds", LEAST_S, row["mean_s"]))
            rows.append(at_least(f"{name}: bytes offered to the link", 2 << 20, row["wan_bytes"]))
            rows.append(at_least(f"{name}: CPU s per GB", 0.1, row["cpu_s_per_GB"]))
            cut = [sum(d["emulated_drops"]["cut"] for d in c["directions"])
                   for c in row["certificates"]]
            rows.append(at_least(f"{name}: packets cut in each sample", 1, min(cut)))
            rows.append(table.exactly(f"{name}: seeds", [1, 2],
                                      [c["seed"] for c in row["certificates"]]))
        # The twin: a scenario that waits for a link which is never mended.
        toml.write_text(SMALL_COMPARISON.replace('for = "40 ms"\n', "").replace("20 s", "2 s"))
        subprocess.run([farspan, "compare", toml, "--real", "-n", "1", "--only", "span", "--json",
                        out], timeout=100, check=False)
        failure = json.loads(out.read_text())["rows"][0].get("failure", "none")
        rows.append(table.exactly("cut for ever: fails", True, failure != "none", failure))
        for number in (signal.SIGINT, signal.SIGTERM):
            rows.append(table.exactly(f"left after {number.name}", [], _left_of_a_comparison(
                [farspan, "compare", toml, "--real"], directory, number)))


@scenario
def mpirun(rows):
    """Open MPI's mpirun starts the ranks on both hosts; they find each other by its environment."""
    if shutil.which("mpirun") is None:
        raise Unavailable("mpirun is missing: apt install openmpi-bin")
    with Lab(["a", "b"]) as lab:
        a, b = lab.hosts.values()
        hosts = " ".join(f"{h.address}={h.namespace}" for h in (a, b))
        options = ("--allow-run-as-root", "--host", f"{a.address},{b.address}", "-np", 2, "--mca",
                   "plm_rsh_agent", ROOT / "scripts/lab/rsh_agent.sh", "--mca", "oob_tcp_if_include",
                   "eth0", "--mca", "plm_rsh_no_tree_spawn", 1)
        bench = (binary("farspan", "transports"), "bench", "all_reduce", "--root",
                 f"{a.address}:7000", "-b", "256K", "-e", "1M", "-f", "4", "-n", "2", "-w", "1")
        with engine(lab, "--delay", "1 ms", "--rate", "1 Gbps", valid=False) as running:
            for net in ("udp", "tcp"):
                crossed = lambda: int(running.metric("farspan_link_forwarded_bytes_total",
                                                     direction="ba"))
                before = crossed()
                out = a.run("mpirun", *options, *bench, "--net", net, timeout=60,
                            env={**os.environ, "FARSPAN_LAB_HOSTS": hosts})
                sizes = [line.split() for line in out.splitlines() if line and line[0] != "#"]
                rows.append(table.exactly(f"{net}: sizes in rank 0's table", ["262144", "1048576"],
                                          [line[0] for line in sizes]))
                rows.append(table.exactly(f"{net}: wrong elements", ["0"] * 4,
                                          [line[i] for line in sizes for i in (8, -1)]))
                # A rank gives its peer each size once in every one of 3 iterations, twice.
                rows.append(at_least(f"{net}: bytes from b to a", 6 * (1 << 20),
                                     crossed() - before))
