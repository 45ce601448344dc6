"""What the lab's scenarios share: the usual lab, the engine's verdict, rows, results.

A run whose certificate is INVALID says nothing about the emulator: on a machine that others share
it is repeated when the machine is calm, and fails if no attempt could be believed.
"""

import contextlib
import csv
import json
import os
import sys
import time
from pathlib import Path

from lab import table
from lab.engine import BUILD, Engine
from lab.stats import clopper_pearson
from lab.system import LabError, Unavailable, await_calm, lab_lacks, signals_end_it
from lab.table import Row
from lab.topology import Lab

ATTEMPTS = 3
CALM_S = 60  # the longest wait for the machine between attempts
SKIPPED = 77  # SKIP_RETURN_CODE in CMakeLists.txt
SCENARIOS = {}


def budgets(**bounds):
    """Arguments for the engine: bounds of the certificate for software ports."""
    return tuple(word for key, bound in bounds.items()
                 for word in ("--set", f"engine.budgets.software.{key}={bound}"))


# What the scenarios judge are counts, rates over seconds and medians: the tails of a machine that
# others share do not touch them. Where punctuality itself is judged, a scenario sets its own.
TAILS = budgets(arrival_p99="50 ms", lateness_p99="50 ms", lateness_max="1 s")


class Unbelievable(Exception):
    """The engine's certificate is INVALID where it should be valid."""


def scenario(function):
    """Registers `function(rows)`, which appends its rows."""
    SCENARIOS[function.__name__] = function
    return function


def check_certificate(running, certificate, valid=True):
    if certificate is None:
        raise LabError(f"the engine left no certificate:\n{running.log()}")
    if early := sum(port["early"] for port in certificate["ports"]):
        raise LabError(f"{early} packets left early")
    if valid and not certificate["valid"]:
        raise Unbelievable("; ".join(map(str, certificate["reasons"])))


@contextlib.contextmanager
def engine(lab, *arguments, valid=True):
    """A wire between hosts a and b, or whatever the arguments say; checked at its end."""
    with Engine(lab, "--set", "engine.idle=spin",  # the lab keeps its own programs off that CPU
                *TAILS, *(arguments if "--config" in arguments else ("--wire", "a,b", *arguments)),
                name=f"engine{len(list(lab.directory.glob('*.log')))}") as running:
        yield running
        time.sleep(0.3)  # its books close when the hosts are quiet
        certificate = running.stop()
    check_certificate(running, certificate, valid)
    if valid and running.exit_code != 0:
        raise LabError(f"the engine ended with {running.exit_code}:\n{running.log()}")


@contextlib.contextmanager
def wire(*arguments, mtu=1500, **options):
    """Two hosts and the engine: (a, b, engine)."""
    with Lab(["a", "b"], mtu=mtu) as lab:
        with engine(lab, *arguments, **options) as running:
            yield *lab.hosts.values(), running


def dropped(running, cause=None, direction="ab"):
    """Emulated drops by the engine's counters."""
    labels = {"direction": direction, **({"cause": cause} if cause else {})}
    return int(running.metric("farspan_link_emulated_dropped_packets_total", **labels))


def own_drops(running):
    return int(running.metric("farspan_link_own_dropped_packets_total")
               + running.metric("farspan_port_own_dropped_packets_total"))


def probability(name, asked, events, trials, note=""):
    """A row that passes if `asked` is in the exact 99.999 % interval of events in trials: a suite
    with tens of such rows must not fail by chance once in a hundred runs."""
    low, high = clopper_pearson(events, trials, 0.99999)
    return Row(name, f"{asked:.4g}", f"{events / trials:.4g}", low <= asked <= high,
               f"{events} of {trials}; 99.999 % interval {low:.3e} to {high:.3e}. {note}".strip(),
               {"asked": asked, "events": events, "trials": trials, "low": low, "high": high})


def at_least(name, asked, measured, note=""):
    return Row(name, f"≥ {asked}", str(measured), measured >= asked, note,
               {"asked": asked, "measured": measured})


def read_trace(file):
    """A probe's CSV as a list of dicts of integers."""
    with open(file, newline="") as lines:
        return [{k: int(v) for k, v in row.items()} for row in csv.DictReader(lines)]


def write_results(name, rows, attempts):
    folder = Path(os.environ.get("FARSPAN_LAB_RESULTS", BUILD / "lab-results"))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(
        {"schema": "farspan.lab.v1", "scenario": name, "label": "measured", "attempts": attempts,
         "pass": all(r.passed for r in rows), "rows": [r.to_json() for r in rows]}, indent=2) + "\n")


def missing(reason):
    if os.environ.get("FARSPAN_REQUIRE_LAB") == "1":
        print(f"FAILED: FARSPAN_REQUIRE_LAB=1, but {reason}")
        return 1
    print(f"SKIPPED: {reason}")
    return SKIPPED


def main(name):
    """Runs one scenario: 0 good, 1 failed, SKIPPED with the reason."""
    if (reason := lab_lacks()) is not None:
        return missing(reason)
    for attempt in range(1, ATTEMPTS + 1):
        rows = []
        try:
            with signals_end_it():
                SCENARIOS[name](rows)
        except Unavailable as error:
            return missing(str(error))
        except Unbelievable as error:
            print(f"{table.text(rows)}\nattempt {attempt} of {ATTEMPTS} cannot be believed: {error}",
                  flush=True)
            await_calm(CALM_S)
            continue
        except LabError as error:
            print(f"FAILED: {error}", file=sys.stderr)
            return 1
        print(table.text(rows))
        write_results(name, rows, attempt)
        return 0 if rows and all(r.passed for r in rows) else 1
    print("FAILED: no attempt had a valid certificate")
    return 1
