"""Frames that are not plain UDP, ports that are not there, and the engine's own capture."""

import json
import subprocess
import sys

from harness import dropped, engine, scenario
from lab import measure, table
from lab.engine import emulator_binary
from lab.system import LabError
from lab.table import Row
from lab.topology import Lab

# Sends every frame of standard input (hexadecimal, one a line) through eth0.
SENDER = """
import socket, sys, time
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(("eth0", 0))
for line in sys.stdin:
    s.send(bytes.fromhex(line))
    time.sleep(0.002)
"""
COPIES = 20


def _frames():
    """{what: frame without FCS}: everything a wire carries, well formed or not."""
    ethernet = "020000000002" "020000000001"
    ipv4 = "45000024000040004011{}0a4d00010a4d0002"
    udp = "15e015e000100000" + "ab" * 8
    v4 = ethernet + "0800" + ipv4.format("2630") + udp
    fragment = ethernet + "0800" + "4500001c000120ff4011{}0a4d00010a4d0002".format("0000") + "cd" * 8
    v6 = ethernet + "86dd" + "6000000000101140" + "fd" + "00" * 14 + "01" + "fd" + "00" * 14 + "02"
    return {
        "IPv4 UDP": v4,
        "VLAN": ethernet + "81006064" + "0800" + ipv4.format("2630") + udp,
        "QinQ": ethernet + "88a80005" + "81000064" + "0800" + ipv4.format("2630") + udp,
        "IPv6 UDP": v6 + udp,
        "IPv4 fragment": fragment,
        "ARP": ethernet + "0806" + "0001080006040001" + "020000000001" + "0a4d0001" + "00" * 6
               + "0a4d0002",
        "LLDP": "0180c200000e" "020000000001" + "88cc" + "0207040200000000" + "00" * 40,
        "experimental type": ethernet + "88b5" + "00" * 46,
        "802.3 length": ethernet + "0026" + "4242030000" + "00" * 41,
        "runt": ethernet + "88b5",
        "IPv4, total length beyond the frame": ethernet + "0800" + "4500ffff" + ipv4[8:].format("0000")
                                               + udp,
        "IPv4, header length 0": ethernet + "0800" + "40" + ipv4[2:].format("0000") + udp,
        "IPv6 header cut short": ethernet + "86dd" + "60000000",
        "broadcast": "ff" * 6 + "020000000001" + "88b5" + "00" * 46,
    }


@scenario
def odd_frames(rows):
    """Every frame crosses a wire, whatever it is; none crashes the engine or is lost."""
    with Lab(["a", "b"]) as lab:
        a, b = lab.hosts.values()
        with engine(lab, "--delay", "1 ms", "--rate", "1 Gbps", valid=False) as running:
            for name, frame in _frames().items():
                before = b.interface_counters("eth0")["rx_packets"]
                text = (frame + "\n") * COPIES
                try:
                    a.run(sys.executable, "-c", SENDER, input=text)
                except LabError as error:  # the kernel itself refuses to send some runts
                    rows.append(Row(name, "sent", "refused by the kernel", True, str(error)[-80:]))
                    continue
                measure.ping(a, b, count=1)
                arrived = b.interface_counters("eth0")["rx_packets"] - before - 1
                rows.append(table.exactly(name, COPIES, arrived))
            rows.append(table.exactly("emulated drops", 0, dropped(running)))


@scenario
def capture(rows):
    """The engine's own pcapng, read by tshark: every packet on both sides, its fate beside it."""
    count, p = 2000, 0.05
    with Lab(["a", "b"]) as lab:
        a, b = lab.hosts.values()
        file = lab.directory / "run.pcapng"
        with engine(lab, "--delay", "3 ms", "--loss", str(p), "--set", f"engine.capture={file}") as e:
            result = measure.probe(a, b, 1000, count, 300)
            lost = dropped(e, "loss")
        rows.append(table.exactly("lost, by the probe", lost, result["lost"]))
        seen = measure.tshark_fields(file, "udp.dstport == 5600", "frame.interface_name",
                                     "frame.comment")
        comments = [comment for interface, comment in seen if interface == "b"]
        rows.append(table.exactly("captured on arrival", count, len(seen) - len(comments)))
        rows.append(table.exactly("on departure, as delayed", result["received"],
                                  sum(c.startswith("delayed ") for c in comments)))
        rows.append(table.exactly("on departure, as lost", lost,
                                  sum("loss" in c for c in comments)))


@scenario
def bad_ports(rows):
    """A port that is not there: one message that names it, and exit code 2 or 3."""
    with Lab(["a", "b"]) as lab:
        for name, wire in (("no such interface", "a,nosuch0"), ("no such vdev", "a,net_nosuch0")):
            command = lab.engine.command(emulator_binary(), "run", "--wire", wire, "--delay", "1 ms",
                                         "--rate", "10 Mbps", "--http", "off")
            result = subprocess.run([str(c) for c in command], text=True, capture_output=True,
                                    timeout=60)
            said = (result.stdout + result.stderr).strip()
            missing = wire.split(",")[1]
            rows.append(Row(name, "exit 2 or 3, naming it", f"exit {result.returncode}",
                            result.returncode in (2, 3) and missing in said,
                            said.splitlines()[-1][:160] if said else "(silent)",
                            {"output": json.dumps(said)}))
