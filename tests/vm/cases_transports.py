"""Farspan's own transports over verbs, between two guests through the engine."""

import json

import harness
from lab.system import LabError
from lab.table import Row

from cases_perftest import link

LIMIT_S = 60
ROOT = "10.77.0.1:7000"


def _bench(lab, *options):
    """Rank 0's figures of an all-reduce of two guests; LabError unless both ranks end well."""
    command = " ".join(("farspan bench all_reduce --net verbs --world 2 --root", ROOT, *options))
    running = [(guest, guest.begin(f"{command} --rank {rank} --json rank{rank}", LIMIT_S))
               for rank, guest in enumerate(lab.guests.values())]
    for guest, one in running:
        result = one.result()
        if result.status != 0:
            raise LabError(f"guest {guest.name}: {command}: exit {result.status}: "
                           f"{result.everything.strip()[-2000:]}")
    return json.loads(running[0][0].run("cat rank0").text)


def _rows(name, figures):
    """Every result of every size must be right."""
    for size in figures["rows"]:
        wrong = [size[place]["wrong"] for place in ("out_of_place", "in_place")]
        yield Row(f"{name}, {size['bytes'] // 1024} KiB", "0 wrong", f"{wrong} wrong", wrong == [0, 0],
                  "all elements of both guests checked", {"wrong": wrong})


def collectives(lab, rows):
    """All-reduce over 500 km of verbs, losing 1 % of the packets: every element as it must be."""
    sizes = ("-b", "64K", "-e", "256K", "-f", "4", "-n", "2", "-w", "1")
    with link(lab, distance="500 km", loss="1e-2") as engine:
        rows += _rows("span over UD", _bench(lab, *sizes))
        rows.append(harness.at_least("frames lost", 1, sum(harness.dropped(engine, direction=way)
                                                           for way in ("ab", "ba"))))


CASES = (collectives,)
