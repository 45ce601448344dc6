"""The lab itself: it leaves nothing behind, and its statistics are right. Only the shell needs an engine."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from unittest import mock

from harness import at_least, scenario
from lab import quickstart, stats, table
from lab.system import ROOT, die_with_parent, process_start, run
from lab.topology import STATE, clean

CHILD = """
import time
from lab.system import signals_end_it
from lab.topology import Lab
with signals_end_it(), Lab(["a", "b"]) as lab:
    child = lab.hosts["a"].start("sleep", "300")
    print(child.pid, flush=True)
    time.sleep(300)
"""


def _namespaces(pid):
    return [n for n in run("ip", "netns", "list").split() if n.startswith(f"farspan-{pid}-")]


def _end_a_lab_by(number):
    """Starts a lab in a child, ends the child by a signal; what is left of it."""
    child = subprocess.Popen([sys.executable, "-B", "-c", CHILD], stdout=subprocess.PIPE, text=True,
                             env={**os.environ, "PYTHONPATH": str(ROOT / "scripts")})
    inside = int(child.stdout.readline())
    assert len(_namespaces(child.pid)) == 3
    child.send_signal(number)
    child.wait(30)
    child.stdout.close()
    if number == signal.SIGKILL:
        before = len(_namespaces(child.pid))
        clean()
        assert before == 3, "the twin: a killed lab must leave something for `clean` to find"
    left = _namespaces(child.pid) + list(STATE.glob(f"{child.pid}*"))
    if process_start(inside) is not None:
        left.append(f"process {inside}")
    return left


LOOKING = """
from lab.system import lab_lacks
print(flush=True)
while True:
    lab_lacks()
"""


def _left_by_looking():
    """What is left of programs that end while they look whether a lab can be made."""
    left = []
    for milliseconds in (20, 50, 80, 110, 140):
        child = subprocess.Popen([sys.executable, "-B", "-c", LOOKING], stdout=subprocess.PIPE,
                                 env={**os.environ, "PYTHONPATH": str(ROOT / "scripts")})
        child.stdout.readline()
        time.sleep(milliseconds * 1e-3)
        child.terminate()
        child.wait(30)
        child.stdout.close()
        left += _namespaces(child.pid)
    return left


def _after_its_parent(begin):
    """What a child says that calls `begin(parent)` when its parent has ended already."""
    reading, writing = os.pipe()
    parent = os.fork()
    if parent == 0:
        parent = os.getpid()
        if os.fork() == 0:
            while os.getppid() == parent:
                time.sleep(0.001)
            begin(parent)
            os.write(writing, b"runs")
        os._exit(0)
    os.close(writing)
    os.waitpid(parent, 0)
    with open(reading, encoding="ascii") as end:
        return end.read()


@scenario
def leaves_nothing(rows):
    rows.append(table.exactly("a child that starts after its parent's end", "",
                              _after_its_parent(die_with_parent)))
    rows.append(table.exactly("... and one that does not look", "runs",
                              _after_its_parent(lambda parent: None)))
    rows.append(table.exactly("left by looking whether a lab can be made", [], _left_by_looking()))
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL):
        name = f"left after {number.name}" + (" and clean" if number == signal.SIGKILL else "")
        rows.append(table.exactly(name, [], _end_a_lab_by(number)))


@scenario
def lab_shell(rows):
    """The README's shell between two hosts: its options reach the engine, its hosts each other."""
    result = subprocess.run([ROOT / "scripts/lab.sh", "shell", "--distance", "100 km"], text=True,
                            input="ping -q -c 3 10.77.0.2\n", capture_output=True, timeout=90,
                            env={**os.environ, "SHELL": "/bin/sh"})
    least = re.search(r"^rtt min/avg/max/mdev = ([\d.]+)/", result.stdout, re.M)
    rows.append(table.exactly("exit code", 0, result.returncode, result.stderr.strip()[-200:]))
    rows.append(at_least("least RTT in ms", 0.979, float(least.group(1)) if least else 0.0))


def _quickstart_after(comparison):
    """The quickstart's exit code where its link passed and farspan is the shell text `comparison`;
    its last argument is the file to write."""
    with tempfile.TemporaryDirectory() as directory:
        farspan = Path(directory, "farspan")
        farspan.write_text(f'#!/bin/bash\nout="${{@: -1}}"\n{comparison}\n')
        farspan.chmod(0o755)
        with (mock.patch.multiple(quickstart, ROOT=Path(directory), lab_lacks=lambda: None,
                                  binary=lambda name, folder: farspan,
                                  run_lab=lambda *_: ([], {"invalid": []})),
              mock.patch.object(sys, "argv", ["quickstart"])):
            return quickstart.main()


@scenario
def quickstart_verdict(rows):
    """The quickstart passes only where its comparison of transports does."""
    done = """echo '{"rows": [{"contender": "span"}]}' > "$out" """
    failed = """echo '{"rows": [{"contender": "span", "failure": "late"}]}' > "$out" """
    for name, asked, comparison in (("compared", 0, done), ("a contender failed", 1, failed),
                                    ("no certificate is valid", 1, f"{done}; exit 1"),
                                    ("nothing written", 1, "exit 1")):
        rows.append(table.exactly(name, asked, _quickstart_after(comparison)))


@scenario
def statistics(rows):
    stats.self_test()
    rows.append(table.exactly("intervals agree with published values", True, True))
