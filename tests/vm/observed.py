"""The engine's account of queue pairs, against the capture's as tshark decodes it."""

import trace
from lab import table
from lab.system import LabError


def queue_pairs(engine):
    return engine.call("GET", "/api/v1/links/wire/queue_pairs")["queue_pairs"]


def find(rows_of_engine, direction, qp):
    """The one towards this queue pair number."""
    found = [q for q in rows_of_engine if q["direction"] == direction and q["destination_qp"] == qp]
    if len(found) != 1:
        raise LabError(f"the observer has {len(found)} queue pairs {direction} to {qp:#x}")
    return found[0]


def compare(rows, seen, packets, name=""):
    """Rows that pass where the observer's view of one direction of a queue pair is the capture's."""
    entered = [p for p in packets if p.entered]
    left = [p for p in packets if p.intact]
    requests = [[p for p in tap if p.request] for tap in (entered, left)]
    rows += [
        table.exactly(f"observer: {name}entered, left, dropped",
                      (len(entered), len(left), sum(p.dropped for p in packets)),
                      (seen["ingress"]["packets"], seen["egress"]["packets"],
                       seen["dropped_packets"])),
        table.exactly(f"observer: {name}sent again", trace.sequence(requests[0])[2],
                      seen["ingress"]["repeated_packets"]),
        table.exactly(f"observer: {name}gaps, missing, duplicates at the far host",
                      trace.sequence(requests[1]),
                      (seen["egress"]["gaps"], seen["egress"]["missing_packets"],
                       seen["egress"]["repeated_packets"]))]


def compare_answers(rows, seen, packets):
    """Likewise of ACKs and NAKs."""
    naks = sum(p.nak for p in packets if p.entered)
    entered = sum(p.entered for p in packets)
    acknowledgements = seen["ingress"]["acknowledgements"]
    rows.append(table.exactly(
        "observer: ACKs, NAKs for a sequence error", (entered - naks, naks),
        (acknowledgements["ack"], acknowledgements["psn_sequence_error"])))
