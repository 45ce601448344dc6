"""Processes and signals: nothing that the lab starts outlives it."""

import contextlib
import ctypes
import functools
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_LIBC = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG = 1


class LabError(Exception):
    """Something did not go as the lab needs it; the message is for a person."""


class Unavailable(LabError):
    """This machine lacks something; the message names what mends it."""


class Interrupted(SystemExit):
    """A signal asked the lab to end; not an Exception, so that only cleaning up stands in its way."""


def run(*command, check=True, **options):
    """Runs a command to its end and gives its output; its errors are in the LabError."""
    result = subprocess.run([str(c) for c in command], text=True, capture_output=True, **options)
    if check and result.returncode != 0:
        raise LabError(f"{' '.join(map(str, command))}: exit {result.returncode}: "
                       f"{(result.stderr or result.stdout).strip()}")
    return result.stdout


def die_with_parent(parent, by=signal.SIGTERM):
    """For preexec_fn: the child gets the signal when process `parent` ends, however it ends; where
    that has ended already, no signal would come, and the child ends here."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, by)
    if os.getppid() != parent:
        os._exit(1)


def start(*command, dies_by=signal.SIGTERM, **options):
    """Starts a child that cannot outlive this process, in its own session: Ctrl-C is ours first."""
    return subprocess.Popen([str(c) for c in command], text=True, start_new_session=True,
                            preexec_fn=functools.partial(die_with_parent, os.getpid(), dies_by), **options)


@functools.cache
def _realtime_works():
    return subprocess.run(["chrt", "-f", "20", "true"], capture_output=True).returncode == 0


def realtime(priority, *command):
    """The command with real-time priority, where that is allowed: for what stamps packets and
    sleeps between them. (What polls would meet the kernel's limit on real-time work.)"""
    return ("chrt", "-f", priority, *command) if _realtime_works() else command


@functools.cache
def _cpus():
    return sorted(os.sched_getaffinity(0))


def engine_cpu():
    """The CPU that the engine has to itself, if there are two; None otherwise."""
    return _cpus()[-1] if len(_cpus()) > 1 else None


def leave_engine_cpu():
    """This process and what it starts from now on keep off the engine's CPU."""
    if engine_cpu() is not None:
        os.sched_setaffinity(0, _cpus()[:-1])


def on_all_cpus(*command):
    return ("taskset", "-c", ",".join(map(str, _cpus())), *command)


def stop(process, grace_s=10.0):
    """SIGTERM, then after `grace_s` SIGKILL."""
    if process.poll() is None:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        try:
            process.wait(grace_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def signals_end_it():
    """Within, SIGINT, SIGTERM and SIGHUP raise Interrupted, so that `finally` blocks run."""
    def interrupt(number, _frame):
        ignore_signals()  # a second Ctrl-C must not stop the cleaning up
        raise Interrupted(128 + number)
    before = {s: signal.signal(s, interrupt) for s in SIGNALS}
    try:
        yield
    finally:
        for s, handler in before.items():
            signal.signal(s, handler)


def ignore_signals():
    for s in SIGNALS:
        signal.signal(s, signal.SIG_IGN)


def process_start(pid):
    """When a process began, in clock ticks since boot; None if there is none (or a zombie)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else int(fields[19])


def wait_until(condition, seconds, what):
    """The first true value of `condition()`; LabError after `seconds`."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > end:
            raise LabError(f"{what}: not within {seconds:g} s")
        time.sleep(0.02)
    return value


def _cpu_ticks():
    """(all, not idle) of all CPUs; what other guests of a shared host took is not idle."""
    ticks = [int(t) for t in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return sum(ticks), sum(ticks) - ticks[3] - ticks[4]


def await_calm(seconds, share=0.1):
    """Waits, at most so long, for a second in which the CPUs were busy for less than `share`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        before = _cpu_ticks()
        time.sleep(1)
        total, busy = (a - b for a, b in zip(_cpu_ticks(), before))
        if busy < share * total:
            return


def lab_lacks():
    """Why a lab cannot be made here, with the command that mends it; None if it can."""
    if os.geteuid() != 0:
        return "making network namespaces needs root: run it with sudo"
    for program, package in (("ip", "iproute2"), ("ethtool", "ethtool"), ("ping", "iputils-ping"),
                             ("iperf3", "iperf3"), ("tshark", "tshark")):
        if shutil.which(program) is None:
            return f"{program} is missing: apt install {package}"
    probe = f"farspan-{os.getpid()}-probe"
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # one of them must not leave it
    try:
        result = subprocess.run(["ip", "netns", "add", probe], text=True, capture_output=True)
        run("ip", "netns", "delete", probe, check=False)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    if result.returncode != 0:
        return f"network namespaces do not work here: {result.stderr.strip()}"
    return None


def give_to_invoker(path):
    """Results written under sudo belong to whoever called sudo."""
    uid, gid = os.environ.get("SUDO_UID"), os.environ.get("SUDO_GID")
    if os.geteuid() != 0 or uid is None or gid is None:
        return
    for item in [path, *path.rglob("*")]:
        os.chown(item, int(uid), int(gid))
