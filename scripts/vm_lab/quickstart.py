"""RDMA across a long-haul fiber: two virtual machines with the kernel's own RoCE stack, perftest
between them without the fiber and with it. Needs no root. Behaviour, not speed: the guests' CPUs may
be emulated. Results go to out/quickstart-rdma-TIME/ as JSON, with the guests' consoles."""

import argparse
import json
import subprocess
import sys
import time

import lab.quickstart
from lab import table
from lab.quickstart import quantity, write_results
from lab.system import ROOT, LabError, Unavailable, give_to_invoker, signals_end_it
from lab.table import Row
from vm_lab import rdma
from vm_lab.topology import VmLab

LONG_TIMEOUT = ("-u", "20")  # 4.3 s: emulated CPUs starve for longer than perftest's 67 ms


def measure(lab, say, where):
    a, b = lab.guests.values()
    say(f"{where}: ib_write_lat, ib_send_lat, ib_write_bw")
    return {"ib_write_lat": rdma.latency_ns(b, a, "ib_write_lat", *LONG_TIMEOUT),
            "ib_send_lat": rdma.latency_ns(b, a, "ib_send_lat", "-e", *LONG_TIMEOUT),
            "ib_write_bw": rdma.bandwidth_bits_per_s(b, a, "ib_write_bw")}


def rows_of(near, far, delay_ns, own_drops):
    rows = [rdma.latency_row(f"{program}, median", near[program], far[program], delay_ns)
            for program in ("ib_write_lat", "ib_send_lat")]
    rows.append(Row("ib_write_bw, 200 x 64 KiB", "completes", f"{far['ib_write_bw'] / 1e6:.0f} Mb/s",
                    True, f"{near['ib_write_bw'] / 1e6:.0f} Mb/s without the fiber",
                    {"near": near["ib_write_bw"], "far": far["ib_write_bw"]}))
    rows.append(table.exactly("the emulator's own drops", 0, own_drops))
    return rows


def queue_pair_lines(queue_pairs):
    """What the emulator saw of them, as a table."""
    lines = [("direction", "to QP", "packets", "messages", "goodput", "sent again", "gaps", "NAKs",
              "spurious")]
    for seen in queue_pairs:
        entered, left = seen["ingress"], seen["egress"]
        naks = sum(count for kind, count in entered["acknowledgements"].items() if kind != "ack")
        lines.append((seen["direction"], f"{seen['destination_qp']:#x}", entered["packets"],
                      entered["messages"], f"{left['goodput_bytes']} B", entered["repeated_packets"],
                      left["gaps"], naks, seen["spurious_retransmissions"]))
    widths = [max(len(str(line[i])) for line in lines) for i in range(len(lines[0]))]
    return "\n".join("  ".join(str(cell).rjust(width) for cell, width in zip(line, widths))
                     for line in lines)


def run(distance, out, say):
    text, metres = distance
    delay_ns = metres * lab.quickstart.GROUP_INDEX / lab.quickstart.LIGHT_M_PER_S * 1e9
    with VmLab(logs=out, say=say) as guests:
        with guests.link(name="near", delay="0 ms"):
            near = measure(guests, say, "no fiber")
        with guests.link(distance=text) as engine:
            far = measure(guests, say, text)
            queue_pairs = engine.call("GET", "/api/v1/links/wire/queue_pairs")["queue_pairs"]
            own = (engine.metric("farspan_link_own_dropped_packets_total")
                   + engine.metric("farspan_port_own_dropped_packets_total"))
        accelerator = guests.accelerator
    return rows_of(near, far, delay_ns, int(own)), {"near": near, "far": far,
                                                   "queue_pairs": queue_pairs,
                                                   "accelerator": accelerator}


def parse_arguments():
    parser = argparse.ArgumentParser(prog="scripts/quickstart.sh --rdma", description=__doc__)
    parser.add_argument("--rdma", action="store_true", help="this")
    parser.add_argument("--distance", type=quantity("km", "m"), default="500 km",
                        help="length of the fiber (default: %(default)s)")
    return parser.parse_args()


def main():
    args = parse_arguments()
    say = lambda text: print(f"quickstart: {text}", flush=True)
    out = ROOT / "out" / time.strftime("quickstart-rdma-%Y%m%d-%H%M%S")
    out.mkdir(parents=True, exist_ok=True)
    try:
        with signals_end_it():
            rows, measurements = run(args.distance, out, say)
    except (LabError, subprocess.SubprocessError) as error:
        say(f"failed: {error}")
        return 3 if isinstance(error, Unavailable) else 1
    finally:
        if not any(out.iterdir()):
            out.rmdir()
        give_to_invoker(out.parent)
    print(f"\n{table.text(rows)}\n\nThe queue pairs, as the emulator saw them over "
          f"{args.distance[0]}:\n{queue_pair_lines(measurements['queue_pairs'])}\n")
    passed = write_results(out, {"distance": args.distance}, rows, measurements)
    say(f"results and consoles: {out.relative_to(ROOT)}/")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
