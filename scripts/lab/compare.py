"""Carries out a plan of `farspan compare --real` (transports/testbed/real_compare.h).

A sample is an engine of its own with the sample's seed, and one process per rank in its site's
namespace. When all have warmed up and been silent for a round trip, a new epoch of the link's time
begins and all are told one moment to start at. Then: seconds until the last rank had its result, CPU
time of all ranks and of softirqs until all knew that everything had arrived, the bytes that the links
were offered meanwhile, and the engine's certificate.
"""

import contextlib
import json
import os
import re
import select
import subprocess
import sys
import time
from pathlib import Path

from lab.engine import Engine
from lab.measure import softirq_s
from lab.system import LabError, realtime, stop
from lab.topology import Lab

LEAD_NS = 5_000_000  # from the epoch to the common start: what it takes to tell all ranks
SETTLE_S = 0.3  # the engine's books close when the hosts are quiet
SETUP_S = 30

# Linux' own limits of socket buffers (net/ipv4/tcp.c), and what a long link needs.
BUFFERS = {False: {"tcp_rmem": "4096 131072 6291456", "tcp_wmem": "4096 16384 4194304"},
           True: {"tcp_rmem": "4096 131072 67108864", "tcp_wmem": "4096 131072 67108864"}}


class Rank:
    """One process of a sample; it says what goes wrong by itself."""

    def __init__(self, host, command, seconds):
        self.seconds = seconds
        self.process = host.start(*realtime(10, *command), stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def line(self):
        end = time.monotonic() + self.seconds
        while not select.select([self.process.stdout], [], [], 0.1)[0]:
            if time.monotonic() > end:
                raise LabError(f"a rank said nothing for {self.seconds:g} s")
        if not (line := self.process.stdout.readline()):
            raise LabError(self.process.communicate()[1].strip() or "a rank ended")
        return line

    def start_at(self, moment_ns):
        self.process.stdin.write(f"{moment_ns}\n")
        self.process.stdin.flush()

    def stop(self):
        stop(self.process)
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            with contextlib.suppress(BrokenPipeError):
                stream.close()


def configuration(lab, plan):
    """The engine's file: sites and ports are the lab's, the links are the scenario's."""
    mesh = len(plan["sites"]) > 2
    lines = [*(['mode = "mesh"'] if mesh else []), "[engine]", f'mtu = "{plan["mtu"]} B"']
    for site, host in zip(plan["sites"], lab.hosts.values()):
        lines += ["[[sites]]", f'name = "{site["name"]}"', f'port = "{host.name}"']
        if mesh:
            lines.append(f'prefixes = ["{host.address.rsplit(".", 1)[0]}.0/24"]')
        if site["city"]:
            lines.append(f'city = "{site["city"]}"')
    file = lab.directory / "compare.toml"
    file.write_text("\n".join(lines) + "\n" + plan["links"])
    return file


def engine_arguments(file, run):
    sets = [f"seed={run['seed']}", *run["sets"]]
    # What spins must not have real-time priority: the kernel stops it.
    if os.environ.get("FARSPAN_LAB_REALTIME") != "1":
        sets.append("engine.idle=spin")
    return ["--config", file, *(word for one in sets for word in ("--set", one))]


def offered_bytes(engine):
    return engine.metric("farspan_link_offered_bytes_total")


def sample(ranks, engine):
    """What came of it, over all ranks."""
    for rank in ranks:
        rank.line()
    offered, softirq = offered_bytes(engine), softirq_s()
    engine.call("POST", "/api/v1/epoch", {})
    start = time.monotonic_ns() + LEAD_NS
    for rank in ranks:
        rank.start_at(start)
    of = [json.loads(rank.line()) for rank in ranks]
    return {"seconds": max(r["seconds"] for r in of),
            "cpu_s": sum(r["cpu_s"] for r in of) + softirq_s() - softirq,
            "wan_bytes": offered_bytes(engine) - offered,
            **{key: sum(r[key] for r in of) for key in ("resent", "duplicate", "parity")}}


def carry_out(lab, plan, run, number, file):
    hosts = list(lab.hosts.values())
    for host in hosts:
        for name, value in BUFFERS[run["tuned"]].items():
            host.run("sysctl", "-q", "-w", f"net.ipv4.{name}={value}")
    root = f"{hosts[0].address}:{7000 + number % 1000}"
    result = {"row": run["row"], "sample": run["sample"], "certificate": None}
    with Engine(lab, *engine_arguments(file, run), name=f"engine-{number}") as engine:
        with contextlib.ExitStack() as stack:
            ranks = []
            for number_of_rank in range(len(hosts) * plan["ranks_per_site"]):
                host = hosts[number_of_rank // plan["ranks_per_site"]]
                ranks.append(Rank(host, [*plan["rank_command"], "--rank", number_of_rank, "--row",
                                         run["row"], "--sample", run["sample"], "--root", root,
                                         "--local", f"{host.address}:0"],
                                  plan["limit_s"] + SETUP_S))
                stack.callback(ranks[-1].stop)
            try:
                result.update(sample(ranks, engine))
            except LabError as error:
                result["failure"] = str(error)
        time.sleep(SETTLE_S)
        result["certificate"] = engine.stop()
    return result


def machine(before):
    cpu = re.search(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text())
    return {"cpu": cpu.group(1) if cpu else "unknown", "cpus": os.cpu_count(),
            "load_average": [before, os.getloadavg()]}


def show(done, of):
    if sys.stderr.isatty():
        print(f"\r{done}/{of} samples" if done < of else "\r\x1b[K", end="", file=sys.stderr,
              flush=True)


def compare(plan_file, results_file):
    plan = json.loads(Path(plan_file).read_text())
    load = os.getloadavg()
    names = [f"s{i}" for i in range(len(plan["sites"]))]
    runs = []
    with Lab(names, mtu=plan["mtu"], site_prefixes=len(names) > 2) as lab:
        file = configuration(lab, plan)
        for number, run in enumerate(plan["runs"]):
            show(number, len(plan["runs"]))
            runs.append(carry_out(lab, plan, run, number, file))
        show(len(plan["runs"]), len(plan["runs"]))
    Path(results_file).write_text(json.dumps({"runs": runs, "machine": machine(load)}))
    return 0
