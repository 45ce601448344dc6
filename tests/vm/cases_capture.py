"""The engine's capture of real RDMA, decoded by tshark, against every other account of the run."""

import harness
import observed
import trace
from cases_perftest import link
from lab import measure, table
from vm_lab import rdma


def _rxe_since(guest, before):
    return {name: value - before[name] for name, value in rdma.counters(guest).items()}


def capture(lab, rows):
    """Sent, lost and received: tshark's, the kernels' and the engine's account are the same."""
    a, b = lab.guests.values()
    file = lab.directory / "capture.pcapng"
    with link(lab, "--set", f"engine.capture={file}", distance="100 km", loss="1e-2") as engine:
        before = {guest: rdma.counters(guest) for guest in (a, b)}
        rdma.pair(b, a, "ib_write_bw", "-s", 65536, "-n", 40)
        rdma.pair(b, a, "ib_send_bw", "-s", 65536, "-n", 40)
        kernel = {guest: _rxe_since(guest, before[guest]) for guest in (a, b)}
        queue_pairs = observed.queue_pairs(engine)
        lost = {"ab": harness.dropped(engine), "ba": harness.dropped(engine, direction="ba")}
    packets = trace.read(file)
    udp = measure.tshark_count(file, "udp.dstport == 4791")
    rows.append(table.exactly("frames to port 4791 that tshark decodes as RoCE", udp, len(packets)))
    rows.append(table.exactly("of them malformed", 0,
                              measure.tshark_count(file, "udp.dstport == 4791 && _ws.malformed")))
    for way, sender, receiver in (("ab", a, b), ("ba", b, a)):
        mine = [p for p in packets if p.source == sender.address]
        rows.append(table.exactly(f"{way}: sent, capture against the kernel",
                                  kernel[sender]["sent_pkts"], sum(p.entered for p in mine)))
        rows.append(table.exactly(f"{way}: received, capture against the kernel",
                                  kernel[receiver]["rcvd_pkts"], sum(p.arrived for p in mine)))
        everything = measure.tshark_count(file, f"frame.comment contains \"dropped\" && "
                                                f"eth.src == {sender.mac}")
        rows.append(table.exactly(f"{way}: lost, comments against the engine", lost[way], everything))
    requests = [p for p in packets if p.request and p.source == a.address]
    gaps = 0
    for name, qp in zip(("writes", "sends"), sorted({p.qp for p in requests})):
        mine = [p for p in requests if p.qp == qp]
        gaps += trace.sequence([p for p in mine if p.arrived])[0]
        observed.compare(rows, observed.find(queue_pairs, "ab", qp), mine, f"{name}, ")
    rows.append(harness.at_least("gaps in what arrived", 1, gaps))
    delivered = {(p.qp, p.psn) for p in requests if p.arrived}
    rows.append(table.exactly("lost requests that were never delivered", 0, sum(
        p.dropped and (p.qp, p.psn) not in delivered for p in requests)))


CASES = (capture,)
