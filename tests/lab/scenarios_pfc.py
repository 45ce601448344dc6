"""Pause frames on real interfaces. veth does not obey them: what is judged is what can be seen, and
that the books close; not how punctual a shared machine was.
"""

import json
import sys
import time

from harness import at_least, dropped, engine, scenario
from lab import measure, table
from lab.table import Row
from lab.topology import Lab

PRIORITY = 3
CONTROL_FRAMES = "ether proto 0x8808"

# One PFC frame for priority 0 of so many quanta, out of eth0.
SEND_PAUSE = """
import socket, struct, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(("eth0", 0))
frame = bytes.fromhex("0180c2000001020000000002") + struct.pack(">3H8H", 0x8808, 0x0101, 1,
                                                                int(sys.argv[1]), *[0] * 7)
s.send(frame.ljust(60, b"\\0"))
"""


def _books(rows, running):
    certificate = json.loads(running.certificate_file.read_text())
    for side in ("arrivals", "departures"):
        rows.append(table.exactly(f"{side}: the books close", True, certificate[side]["balanced"]))


@scenario
def pfc(rows):
    """A UDP sender at twice a slow bottleneck's rate is sent pause frames, until the queue has drained."""
    with Lab(["a", "b"]) as lab:
        a, b = lab.hosts.values()
        near, far = lab.directory / "near.pcapng", lab.directory / "far.pcapng"
        with engine(lab, "--delay", "1 ms", "--rate", "20 Mbps", "--limit", "500 kB",
                    "--set", f'link.wire.ab.pfc={{priority={PRIORITY}, line_rate="1 Gbps"}}',
                    valid=False) as running:
            with measure.capture(b, far, CONTROL_FRAMES), measure.capture(a, near, CONTROL_FRAMES):
                result = measure.probe(a, b, 4800, 7200, 1000)
                time.sleep(0.5)  # what waits leaves in 0.2 s
            sent = int(running.metric("farspan_port_pause_frames_sent_total", port="a"))
            asked = running.metric("farspan_port_pause_asked_seconds_total", port="a",
                                   priority=str(PRIORITY))
            lost = dropped(running, "tail_drop")
        _books(rows, running)
        seen = measure.tshark_fields(near, "macc.opcode == 0x0101", "macc.cbfc.enbv",
                                     "macc.cbfc.pause_time.c3", "eth.dst")
        rows.append(table.exactly("pause frames, by tshark at the sender", sent, len(seen)))
        rows.append(table.exactly("of them for priority 3 alone", sent,
                                  sum(int(vector, 16) == 1 << PRIORITY for vector, *_ in seen)))
        rows.append(table.exactly("the last one says go on", "0", seen[-1][1] if seen else "none"))
        rows.append(table.exactly("the others say 65535 quanta", sent - 1,
                                  sum(quanta == "65535" for _, quanta, _ in seen)))
        # The queue fills in 0.15 s of the 1.5; then it is full, for nothing stops the sender.
        rows.append(table.within("seconds for which it was asked", 1.5, asked, 0.3, "s"))
        # Refreshed when half of 65,535 quanta of 512 ns has passed, before all of it has.
        least, most = asked / 33.55e-3, asked / 16.77e-3 + 2
        rows.append(Row("pause frames in that time", f"{least:.0f} to {most:.0f}", str(sent),
                        least <= sent <= most))
        rows.append(table.exactly("at the receiver", 0,
                                  len(measure.tshark_fields(far, "macc", "eth.dst"))))
        rows.append(table.exactly("lost, by the probe", lost, result["lost"]))
        rows.append(Row("veth does not obey", "> 0 lost", str(lost), lost > 0, "as said"))


@scenario
def pause_consumed(rows):
    """A pause frame of the receiving host holds its site's egress back, and does not cross."""
    with Lab(["a", "b"]) as lab:
        a, b = lab.hosts.values()
        near = lab.directory / "near.pcapng"
        with engine(lab, "--delay", "1 ms", "--set", "site.b.pause=consume",
                    "--set", 'site.b.egress={rate="10 Mbps"}',
                    valid=False) as running:
            measure.ping(a, b, count=3)
            with measure.capture(a, near, CONTROL_FRAMES):
                b.run(sys.executable, "-c", SEND_PAUSE, "20000")  # x 51.2 us
                begun = time.monotonic()
                measure.ping(a, b, count=1)
                held = time.monotonic() - begun
                time.sleep(0.5)
            paused = running.metric("farspan_port_paused_seconds_total", port="b", priority="0")
            rows.append(table.exactly("pause frames received", 1, int(running.metric(
                "farspan_port_pause_frames_received_total", port="b"))))
        _books(rows, running)
        rows.append(table.within("seconds paused", 1.024, paused, 1e-6, "s"))
        rows.append(at_least("seconds of a ping meanwhile", 0.3, held))
        rows.append(table.exactly("crossed", 0,
                                  len(measure.tshark_fields(near, "macc", "eth.dst"))))
