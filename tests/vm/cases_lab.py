"""The lab itself: commands come back whole, and nothing is left behind."""

import hashlib
import os
import signal
import time
from pathlib import Path

from lab import table
from lab.system import ROOT, start, stop, wait_until
from vm_lab.topology import clean, folder_of

MARK = "FARSPAN_VM_TEST"


def commands(lab, rows):
    """Exit statuses, limits, and output that is long, binary or at the same time."""
    a, b = lab.guests.values()
    rows.append(table.exactly("exit status", 7, a.run("exit 7", check=False).status))
    began = time.monotonic()
    late = a.run("sleep 100 & sleep 100", seconds=1, check=False)
    rows.append(table.exactly("ended after its limit", 124, late.status))
    rows.append(table.exactly("... within 30 s", True, time.monotonic() - began < 30))
    rows.append(table.exactly("... and what it had started", "",
                              a.run("ps | grep '[s]leep 100' || true").text))
    blob = a.run("head -c 3000000 /dev/urandom | tee blob; md5sum blob >&2; rm blob")
    rows.append(table.exactly("3 MB of random bytes", blob.errors.decode().split()[0],
                              hashlib.md5(blob.output).hexdigest()))
    running = [b.begin(f"sleep 0.5; echo {i}; exit {i}") for i in range(4)]
    results = [r.result() for r in running]
    rows.append(table.exactly("four at the same time", [(i, f"{i}\n") for i in range(4)],
                              [(r.status, r.text) for r in results]))


def _marked(mark):
    """Living processes that were started with the mark."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"{MARK}={mark}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def leaves_nothing(lab, rows):
    """A lab that is interrupted or killed takes its guests and its engine along."""
    for number in (signal.SIGINT, signal.SIGKILL):
        mark = f"{os.getpid()}-{number}"
        process = start(ROOT / "scripts/vm_lab.sh", "a=sleep 60",
                        env={**os.environ, MARK: mark})
        try:
            wait_until(lambda: folder_of(process.pid) and len(_marked(mark)) >= 4, 60,
                       "a second lab's engine and guests")
            process.send_signal(number)
            process.wait(30)
            name = signal.Signals(number).name
            wait_until(lambda: not _marked(mark), 15, f"the end of what {name} should have ended")
            clean()
            rows.append(table.exactly(f"{name}: processes and folders left", (0, None),
                                      (len(_marked(mark)), folder_of(process.pid))))
        finally:
            stop(process)


CASES = (commands, leaves_nothing)
