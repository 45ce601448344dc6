"""sudo scripts/lab.sh clean   removes what killed labs left
   sudo scripts/lab.sh shell   two hosts, an engine, and a shell in host a until you leave it

`farspan compare --real` has its plans carried out by `compare`."""

import argparse
import os
import subprocess
import sys

from lab.compare import compare
from lab.engine import Engine
from lab.system import LabError, Unavailable, lab_lacks, signals_end_it
from lab.topology import Lab, clean


def shell(arguments):
    with Lab(["a", "b"]) as lab, Engine(lab, "--wire", "a,b", *arguments) as engine:
        a, b = lab.hosts.values()
        print(f"host a is {a.address}, host b is {b.address} "
              f"(ip netns exec {b.namespace} …); the engine's HTTP is at {engine.socket}")
        subprocess.run(a.command(os.environ.get("SHELL", "sh")), check=False)
    return 0


def main():
    parser = argparse.ArgumentParser(prog="scripts/lab.sh", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("clean")
    commands.add_parser("shell", usage="scripts/lab.sh shell OPTIONS", add_help=False,
                        description="OPTIONS are the engine's: --distance '500 km'")
    carried = commands.add_parser("compare")
    carried.add_argument("plan")
    carried.add_argument("results")
    args, engine_options = parser.parse_known_args()
    if engine_options and args.command != "shell":
        parser.error(f"unrecognized arguments: {' '.join(engine_options)}")
    if (reason := lab_lacks()) is not None:
        print(f"lab: {reason}", file=sys.stderr)
        return 3
    try:
        with signals_end_it():
            if args.command == "shell":
                return shell(engine_options)
            if args.command == "compare":
                return compare(args.plan, args.results)
            removed = clean()
            print(f"lab: removed the labs of {removed}" if removed else "lab: nothing to remove")
            return 0
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 3 if isinstance(error, Unavailable) else 1


if __name__ == "__main__":
    sys.exit(main())
