"""Hosts in network namespaces, each with one veth pair into the engine's namespace.

    host a: eth0 (address) ── a ┐
                                ├ engine's namespace: no address, IPv6 off, no GRO/LRO
    host b: eth0 (address) ── b ┘

Names carry this process's id, so labs can stand side by side. What was made is recorded before it
is made, in STATE, so that `clean` finds what a killed lab left.
"""

import contextlib
import dataclasses
import json
import os
import shutil
import signal
import time
from pathlib import Path

from lab.system import SIGNALS, ignore_signals, leave_engine_cpu, process_start, run, start

STATE = Path("/run/farspan-lab")
SOCKET_BUFFER_MAX = 64 << 20


@dataclasses.dataclass
class Host:
    name: str
    address: str
    prefix: int = 24
    namespace: str = ""

    def command(self, *command):
        return ("ip", "netns", "exec", self.namespace, *command)

    def run(self, *command, **options):
        return run(*self.command(*command), **options)

    def start(self, *command, **options):
        return start(*self.command(*command), **options)

    def interface_counters(self, device):
        """The kernel's counters: rx_packets, rx_bytes, tx_packets, tx_bytes, rx_dropped, …"""
        out = run("ip", "-n", self.namespace, "-json", "-statistics", "link", "show", "dev", device)
        stats = json.loads(out)[0]["stats64"]
        return {f"{way}_{key}": value for way in ("rx", "tx") for key, value in stats[way].items()}


class Lab:
    """with Lab(["a", "b"]) as lab: … lab.hosts["a"].run("ping", lab.hosts["b"].address) …

    Hosts have 10.77.0.1, .2, …; with `site_prefixes` host i has 10.77.i.1/16, so that a mesh can
    forward by 10.77.i.0/24. With `static_neighbours` no ARP crosses the link, so that every frame
    on it is one that the measurement sent.
    """

    def __init__(self, names, mtu=1500, static_neighbours=True, site_prefixes=False):
        prefix = f"farspan-{os.getpid()}"
        self.mtu = mtu
        self.static_neighbours = static_neighbours
        self.engine = Host("engine", "", namespace=f"{prefix}-engine")
        self.hosts = {}
        for i, name in enumerate(names, 1):
            address = f"10.77.{i}.1" if site_prefixes else f"10.77.0.{i}"
            self.hosts[name] = Host(name, address, 16 if site_prefixes else 24, f"{prefix}-{name}")
        self.record = STATE / f"{os.getpid()}.json"
        self.directory = STATE / str(os.getpid())

    def __enter__(self):
        leave_engine_cpu()
        STATE.mkdir(mode=0o755, exist_ok=True)
        clean()
        self.directory.mkdir(mode=0o700)
        namespaces = [self.engine.namespace, *(h.namespace for h in self.hosts.values())]
        self.record.write_text(json.dumps({"pid": os.getpid(), "started": process_start(os.getpid()),
                                           "namespaces": namespaces,
                                           "directory": str(self.directory)}))
        try:
            for namespace in namespaces:
                run("ip", "netns", "add", namespace)
                run("ip", "-n", namespace, "link", "set", "lo", "up")
                self._sysctl(namespace, "net.ipv6.conf.all.disable_ipv6", 1)
                self._sysctl(namespace, "net.ipv6.conf.default.disable_ipv6", 1)
            for host in self.hosts.values():
                self._connect(host)
            if self.static_neighbours:
                self._set_neighbours()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *_):
        handlers = [(s, signal.getsignal(s)) for s in SIGNALS]
        ignore_signals()
        remove(json.loads(self.record.read_text()))
        self.record.unlink()
        with contextlib.suppress(OSError):
            STATE.rmdir()  # unless another lab is in it
        for number, handler in handlers:
            signal.signal(number, handler)

    def _sysctl(self, namespace, name, value):
        run("ip", "netns", "exec", namespace, "sysctl", "-q", "-w", f"{name}={value}")

    def _connect(self, host):
        engine, name = self.engine.namespace, host.name
        run("ip", "link", "add", "eth0", "netns", host.namespace, "type", "veth",
            "peer", "name", name, "netns", engine)
        for namespace, device in ((host.namespace, "eth0"), (engine, name)):
            run("ip", "-n", namespace, "link", "set", "dev", device, "mtu", self.mtu, "txqueuelen", 10000)
            run("ip", "netns", "exec", namespace, "ethtool", "-K", device, "tx", "off", "tso", "off",
                "gso", "off", "gro", "off")
        run("ip", "-n", host.namespace, "address", "add", f"{host.address}/{host.prefix}",
            "dev", "eth0")
        self._sysctl(host.namespace, "net.ipv4.conf.all.rp_filter", 0)
        for name_of_buffer in ("tcp_rmem", "tcp_wmem"):
            self._sysctl(host.namespace, f"net.ipv4.{name_of_buffer}",
                         f"4096 131072 {SOCKET_BUFFER_MAX}")
        # Each test meets the link anew, not what the one before it learnt.
        self._sysctl(host.namespace, "net.ipv4.tcp_no_metrics_save", 1)
        run("ip", "-n", engine, "link", "set", "dev", name, "up")
        run("ip", "-n", host.namespace, "link", "set", "dev", "eth0", "up")

    def _set_neighbours(self):
        addresses = {h.name: json.loads(h.run("ip", "-json", "link", "show", "eth0"))[0]["address"]
                     for h in self.hosts.values()}
        for host in self.hosts.values():
            for other in self.hosts.values():
                if other is not host:
                    run("ip", "-n", host.namespace, "neighbour", "replace", other.address, "lladdr",
                        addresses[other.name], "dev", "eth0", "nud", "permanent")


def remove(record):
    """Ends what still runs in a lab's namespaces (they are ours alone) and deletes them."""
    existing = {line.split()[0] for line in run("ip", "netns", "list").splitlines() if line}
    ours = [n for n in record["namespaces"] if n in existing]
    for number in (signal.SIGCONT, signal.SIGTERM, signal.SIGKILL):
        for pid in _processes(ours):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        end = time.monotonic() + (3 if number == signal.SIGTERM else 0)
        while _processes(ours) and time.monotonic() < end:
            time.sleep(0.02)
    for namespace in ours:
        run("ip", "netns", "delete", namespace, check=False)  # another cleaner may be faster
    directory = Path(record["directory"])
    if directory.is_dir():
        shutil.rmtree(directory, ignore_errors=True)


def _processes(namespaces):
    """Living processes in the namespaces; never this one."""
    pids = {int(pid) for n in namespaces for pid in run("ip", "netns", "pids", n).split()}
    return [pid for pid in pids if pid != os.getpid() and process_start(pid) is not None]


def clean():
    """Removes the labs whose process is gone; gives their process ids."""
    removed = []
    for path in sorted(STATE.glob("*.json")):
        try:
            record = json.loads(path.read_text())
        except ValueError:
            path.unlink(missing_ok=True)  # killed while it wrote, before it made anything
            continue
        if process_start(record["pid"]) != record["started"]:
            remove(record)
            path.unlink(missing_ok=True)
            removed.append(record["pid"])
    return removed
