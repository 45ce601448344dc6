"""Span against kernel TCP on one link of the lab: the same program, messages and moments for all.

What is compared is farspan-flow over each transport: goodput of one direction at the receiver, and
the CPU time of both hosts, the kernel's softirqs included and the engine excluded, per GB."""

import concurrent.futures
import dataclasses

from lab import measure

# Linux' own limits of socket buffers (net/ipv4/tcp.c), and what a long link needs.
DEFAULT_BUFFERS = {"tcp_rmem": "4096 131072 6291456", "tcp_wmem": "4096 16384 4194304"}
TUNED_BUFFERS = {"tcp_rmem": "4096 131072 67108864", "tcp_wmem": "4096 131072 67108864"}


@dataclasses.dataclass
class Contender:
    name: str
    options: tuple
    buffers: dict = dataclasses.field(default_factory=lambda: TUNED_BUFFERS)


def contenders(rate):
    """Everybody, at a bottleneck of `rate` (text); only `fixed` is told it."""
    span = ("--net", "udp", "--recovery", "auto")
    return [Contender("span, bbr", (*span, "--congestion", "bbr")),
            Contender("span, fixed (provisioned)", (*span, "--congestion", "fixed", "--rate", rate)),
            *(Contender(f"tcp, {congestion}, {name} buffers",
                        ("--net", "tcp", "--tcp-congestion", congestion), buffers)
              for congestion in ("cubic", "bbr")
              for name, buffers in (("default", DEFAULT_BUFFERS), ("tuned", TUNED_BUFFERS)))]


def run(contender, a, b, engine, seconds, omit_s=1):
    """One contender's run, from the link's first moment on."""
    for host in (a, b):
        for name, value in contender.buffers.items():
            host.run("sysctl", "-q", "-w", f"net.ipv4.{name}={value}")
    engine.call("POST", "/api/v1/epoch", {})
    result = measure.flow(a, b, *contender.options, "--message", "1M", "--depth", "32", "--seconds",
                          f"{seconds} s", "--omit", f"{omit_s} s", limit_s=seconds + 60)
    return {"contender": contender.name, "goodput_bits_per_s": result["goodput_bits_per_s"],
            "cpu_s_per_GB": result["cpu_s_per_GB"], "bytes": result["bytes"], "cpu": result["cpu"],
            "seconds": result["seconds"]}


def beside(contenders, a, b, engine, seconds, omit_s=2):
    """Goodputs of several at once over the one link, each from a to b."""
    engine.call("POST", "/api/v1/epoch", {})

    def one(i, contender):
        return measure.flow(a, b, *contender.options, "--message", "100K", "--depth", "32", "--seconds",
                            f"{seconds} s", "--omit", f"{omit_s} s", "--timeout", "30 s", port=5700 + i,
                            limit_s=seconds + 60)["goodput_bits_per_s"]
    with concurrent.futures.ThreadPoolExecutor(len(contenders)) as pool:
        return list(pool.map(one, range(len(contenders)), contenders))


def text(rows):
    lines = [("", "goodput", "CPU of both hosts")]
    lines += [(r["contender"], f"{r['goodput_bits_per_s'] / 1e6:.2f} Mb/s",
               f"{r['cpu_s_per_GB']:.1f} s per GB") for r in rows]
    widths = [max(len(line[i]) for line in lines) for i in range(3)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip()
                     for line in lines)
