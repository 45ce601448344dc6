"""Boots RDMA hosts in virtual machines with an engine between them, runs one command in each, prints
what they wrote, and leaves nothing behind. Commands start in the order given; each waits until the
one before listens on a TCP port, has ended, or ran for 3 s.

  scripts/vm_lab.sh --distance "500 km" b="ib_write_lat -d rxe0 -x 1 -F" \\
                    a="ib_write_lat -d rxe0 -x 1 -F 10.77.0.2"

Host a has 10.77.0.1 and fd77::1, b has 10.77.0.2, …; RDMA device rxe0, GID index 1 for IPv4, 2 for
IPv6. The exit status is 0 if all commands ended with 0."""

import argparse
import subprocess
import sys
from pathlib import Path

from lab.system import LabError, Unavailable, signals_end_it
from vm_lab.topology import VmLab

LINK_OPTIONS = ("distance", "delay", "rtt", "rate", "limit", "loss", "jitter", "duplicate", "corrupt")
HEAD_START_S = 3


def parse_arguments():
    parser = argparse.ArgumentParser(prog="scripts/vm_lab.sh", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    for option in LINK_OPTIONS:
        parser.add_argument(f"--{option}", help="of every link, as farspan-emulator's option")
    parser.add_argument("--guests", type=int, choices=range(2, 10), default=2, metavar="N",
                        help="hosts a, b, …; more than two make a mesh (default: %(default)s)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE",
                        help="as farspan-emulator's --set")
    parser.add_argument("--program", action="append", default=[], type=Path, metavar="FILE",
                        help="copied into the guests, with its libraries")
    parser.add_argument("--seconds", type=float, default=120, help="limit of each command")
    parser.add_argument("--logs", type=Path, help="folder for consoles and logs")
    parser.add_argument("command", nargs="+", metavar="HOST=COMMAND")
    args = parser.parse_args()
    names = "abcdefghi"[:args.guests]
    args.commands = [c.partition("=")[::2] for c in args.command]
    for name, command in args.commands:
        if not command or name not in list(names):
            parser.error(f"'{name}={command}': expected HOST=COMMAND with a host of {' '.join(names)}")
    return args


def run(args):
    settings = {key: value for key in LINK_OPTIONS if (value := getattr(args, key)) is not None}
    if not {"distance", "delay", "rtt"} & set(settings):
        settings["delay"] = "0 ms"
    overrides = [word for setting in args.set for word in ("--set", setting)]
    say = lambda text: print(f"vm_lab: {text}", file=sys.stderr, flush=True)
    with VmLab(args.guests, programs=args.program, logs=args.logs, say=say) as lab, \
            lab.link(*overrides, **settings):
        running = []
        for name, command in args.commands:
            guest = lab.guests[name]
            running.append((name, guest.begin(command, args.seconds)))
            if len(running) < len(args.commands):
                guest.run("for i in $(seq 60); do netstat -ltn | grep -q LISTEN && break; "
                          "sleep 0.05; done", HEAD_START_S + 10)
        worst = 0
        for name, command in running:
            result = command.result()
            say(f"{name}: exit {result.status}")
            sys.stdout.buffer.write(result.output)
            sys.stdout.buffer.flush()
            sys.stderr.buffer.write(result.errors)
            sys.stderr.buffer.flush()
            worst = max(worst, result.status)
    return worst


def main():
    args = parse_arguments()
    try:
        with signals_end_it():
            return run(args)
    except (LabError, subprocess.SubprocessError) as error:
        print(f"vm_lab: {error}", file=sys.stderr)
        return 3 if isinstance(error, Unavailable) else 1


if __name__ == "__main__":
    sys.exit(main())
