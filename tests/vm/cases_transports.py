"""Farspan's own transports over verbs, between two guests through the engine."""

import json

import harness
from lab.system import LabError
from lab.table import Row

from cases_perftest import link

PROGRAMS = "transports/farspan", "tests/vm/conform_verbs"  # of the build
LIMIT_S = 60
ROOT = "10.77.0.1:7000"
RC = ("--transport", "rc", "--ib-timeout", "17")  # 0.5 s: a lost tail waits for it


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
    """All-reduce over 500 km of verbs, Span and RC, losing 1 % of the packets: every element as it must be."""
    sizes = ("-b", "64K", "-e", "256K", "-f", "4", "-n", "2", "-w", "1")
    with link(lab, distance="500 km", loss="1e-2") as engine:
        rows += _rows("span over UD", _bench(lab, *sizes))
        rows += _rows("RC, 2 split queue pairs",
                      _bench(lab, *sizes, *RC, "--qps", "2", "--qp-split", "1"))
        rows.append(harness.at_least("frames lost", 1, sum(harness.dropped(engine, direction=way)
                                                           for way in ("ab", "ba"))))


def conformance(lab, rows):
    """Every rule that collectives stand on, for both ends on one device; a peer that is gone."""
    a, b = lab.guests.values()
    with link(lab, delay="1 ms"):
        for name in ("span", "rc"):
            result = a.run(f"conform_verbs {name}", LIMIT_S, check=False)
            rows.append(Row(f"conformance of {name}", "exit 0", f"exit {result.status}",
                            result.status == 0, result.text if result.status else ""))
            rows.append(_vanish(a, b, name))


def _vanish(a, b, name):
    """Rank 1 is killed in mid-run: rank 0 must say so and end."""
    command = (f"farspan bench all_reduce --net verbs --transport {name} --timeout '5 s' --world 2 "
               f"--root {ROOT} -b 64K -e 64K -n 100000")
    left, killed = a.begin(f"{command} --rank 0", LIMIT_S), b.begin(f"{command} --rank 1", 4)
    status, said = killed.result().status, left.result()
    return Row(f"{name}: rank 1 is killed", "exit 1, with a reason",
               f"exit {said.status}: {said.errors.decode().strip()[-80:]}",
               status == 124 and said.status == 1 and said.errors != b"")


CASES = (collectives, conformance)
