#!/usr/bin/env -S python3 -B
"""Runs one scenario of the lab, or lists them. Usage: run.py SCENARIO | --list"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent / "scripts"))

import harness  # noqa: E402
import scenarios_certificate  # noqa: E402,F401
import scenarios_events  # noqa: E402,F401
import scenarios_frames  # noqa: E402,F401
import scenarios_lab  # noqa: E402,F401
import scenarios_mesh  # noqa: E402,F401
import scenarios_pfc  # noqa: E402,F401
import scenarios_span  # noqa: E402,F401
import scenarios_wire  # noqa: E402,F401

if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in [*harness.SCENARIOS, "--list"]:
        sys.exit(f"{__doc__}\nScenarios: {' '.join(harness.SCENARIOS)}")
    if sys.argv[1] == "--list":
        print("\n".join(harness.SCENARIOS))
    else:
        sys.exit(harness.main(sys.argv[1]))
