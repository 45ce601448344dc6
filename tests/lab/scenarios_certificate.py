"""The certificate: valid when all is well, INVALID when the engine or a host did not keep to it."""

import signal
import sys
import time

from harness import budgets, engine, scenario
from lab import measure, table
from lab.engine import Engine
from lab.table import Row
from lab.topology import Lab

# The same for what must be valid and for what must not; a stop of 200 ms is far beyond them.
BUDGETS = budgets(arrival_p99="20 ms", lateness_p99="20 ms", lateness_max="50 ms")
LINK = ("--wire", "a,b", *BUDGETS, "--delay", "5 ms", "--rate", "1 Gbps")


def _verdict_row(name, expected, certificate, word=""):
    reasons = "; ".join(map(str, certificate["reasons"]))
    passed = certificate["valid"] == (expected == "VALID") and word in reasons
    return Row(name, expected + (f", saying '{word}'" if word else ""),
               "VALID" if certificate["valid"] else "INVALID", passed, reasons)


@scenario
def certificate_starved(rows):
    """A stopped engine is late, and must say so; the same traffic without the stop is the twin."""
    with Lab(["a", "b"]) as lab:
        a, b = lab.hosts.values()
        with engine(lab, *LINK[2:]):
            measure.probe(a, b, 2000, 6000, 200)
        rows.append(Row("not stopped", "VALID", "VALID", True))
        with Engine(lab, *LINK, name="stopped") as running:
            with measure.Stream(a, b, 2000, 6000, 200) as stream:
                time.sleep(1)
                running.process.send_signal(signal.SIGSTOP)
                time.sleep(0.2)
                running.process.send_signal(signal.SIGCONT)
                stream.result()
            live = running.metric("farspan_engine_valid")
            certificate = running.stop()
        rows.append(_verdict_row("SIGSTOP for 200 ms", "INVALID", certificate))
        rows.append(table.exactly("its /metrics said so at once", 0.0, live))
        rows.append(table.exactly("its exit code", 1, running.exit_code))


# Ten segments in one call: the kernel makes one frame of them for a device that would cut it up.
UDP_SEGMENTS = """
import socket, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.IPPROTO_UDP, 103, 1400)
for _ in range(50):
    s.sendto(bytes(14000), (sys.argv[1], 5600))
    time.sleep(0.01)
"""


@scenario
def certificate_super_frames(rows):
    """A host with segmentation offload sends frames no wire carries; without it is the twin.

    Datagrams, because such a host's TCP leaves its checksums to a device that is not there, and
    never gets through its handshake.
    """
    with Lab(["a", "b"]) as lab:
        a, b = lab.hosts.values()
        segments = sys.executable, "-c", UDP_SEGMENTS, b.address
        with engine(lab, *LINK[2:]) as running:
            a.run(*segments)
            rows.append(table.exactly("offloads off: super-frames", 0,
                                      int(running.metric("farspan_port_super_frames_total"))))
        rows.append(Row("offloads off", "VALID", "VALID", True))
        a.run("ethtool", "-K", "eth0", "tx", "on", "tso", "on", "gso", "on",
              "tx-udp-segmentation", "on")
        with Engine(lab, *LINK, name="offloads") as running:
            a.run(*segments)
            seen = int(running.metric("farspan_port_super_frames_total"))
            certificate = running.stop()
        rows.append(table.exactly("offloads on: super-frames", 50, seen))
        rows.append(_verdict_row("offloads on", "INVALID", certificate, "ethtool"))
