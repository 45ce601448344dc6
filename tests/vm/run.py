#!/usr/bin/env python3
"""Kernel RDMA stacks across the emulated fiber. Usage: run.py [CASE…]; all cases share one boot.

A case whose certificate is INVALID, or whose perftest found no clock, says nothing about the emulator:
it is repeated when the machine is calm, and the test fails if no attempt could be believed. Anything
else that fails is not repeated.
"""

import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent.parent / "scripts"), str(HERE.parent / "lab")]

import harness  # noqa: E402
from lab import table  # noqa: E402
from lab.engine import BUILD, emulator_binary  # noqa: E402
from lab.system import LabError, Unavailable, await_calm, signals_end_it  # noqa: E402
from vm_lab import rdma  # noqa: E402
from vm_lab.topology import VmLab  # noqa: E402

import cases_capture  # noqa: E402
import cases_faults  # noqa: E402
import cases_lab  # noqa: E402
import cases_models  # noqa: E402
import cases_perftest  # noqa: E402
import cases_transports  # noqa: E402

MODULES = cases_lab, cases_perftest, cases_capture, cases_faults, cases_models, cases_transports
CASES = {case.__name__: case for module in MODULES for case in module.CASES}


def run_case(lab, case, rows):
    """True unless no attempt's certificate was valid."""
    for attempt in range(1, harness.ATTEMPTS + 1):
        attempt_rows, began = [], time.monotonic()
        try:
            case(lab, attempt_rows)
        except (harness.Unbelievable, rdma.NoClock) as error:
            print(f"{case.__name__}: attempt {attempt} cannot be believed: {error}", flush=True)
            await_calm(harness.CALM_S, share=0.5)  # the guests themselves are never quite idle
            continue
        print(f"\n{case.__name__}: {case.__doc__.splitlines()[0]} "
              f"({time.monotonic() - began:.0f} s)\n{table.text(attempt_rows)}", flush=True)
        rows += attempt_rows
        return bool(attempt_rows)
    return False


def run(names):
    rows, good = [], True
    with signals_end_it():
        emulator_binary()
        with VmLab(programs=[BUILD / file for file in cases_transports.PROGRAMS], logs=BUILD / "vm-lab-logs",
                   say=lambda text: print(text, flush=True)) as lab:
            for name in names:
                good &= run_case(lab, CASES[name], rows)
    harness.write_results("rdma", rows, 1)
    return 0 if good and all(row.passed for row in rows) else 1


def main():
    names = sys.argv[1:] or list(CASES)
    if unknown := [name for name in names if name not in CASES]:
        print(f"no case {' '.join(unknown)}; there are {' '.join(CASES)}", file=sys.stderr)
        return 2
    try:
        return run(names)
    except Unavailable as error:
        return harness.missing(str(error))
    except LabError as error:
        print(f"FAILED: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
