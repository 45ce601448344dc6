"""Programs that measure: ping, iperf3, tshark, and the lab's own farspan-probe and farspan-flow."""

import contextlib
import json
import os
import re
import resource
import subprocess
import sys
import time
import typing
from pathlib import Path

from lab.engine import binary
from lab.stats import median
from lab.system import LabError, realtime, run, stop, wait_until

# Wire bytes of a UDP datagram: Ethernet 14, IPv4 20, UDP 8, FCS 4, preamble 8, gap 12.
UDP_OVERHEAD = 66


def wire_bytes(udp_payload):
    return max(udp_payload + UDP_OVERHEAD, 84)


def packets_per_s(wire_bits_per_s, udp_payload):
    return wire_bits_per_s / 8 / wire_bytes(udp_payload)


def probe_binary():
    return binary("farspan-probe", "tests/lab")


def ping(source, target, count=100, timeout_s=5):
    """Round trips by iputils ping in ns, sorted.

    One process per round trip: only ping's summary has microseconds at any delay, its lines are
    rounded to 0.1 ms from 10 ms on.
    """
    loop = f"for i in $(seq {count}); do ping -n -q -c 1 -W {timeout_s} {target.address}; done"
    out = source.run(*realtime(10, "sh", "-c", loop), check=False)
    times = [float(t) * 1e6 for t in re.findall(r"^rtt min/avg/max/mdev = ([\d.]+)/", out, re.M)]
    if not times:
        raise LabError(f"ping {target.address}: no answer: {out.strip()[-500:]}")
    return sorted(times)


@contextlib.contextmanager
def kept_warm(source, target, interval_s=0.002):
    """A steady ping beside what is measured: use it at zero delay and at full delay alike.

    A kernel that ran none of its echo path for 25 ms answers from cold caches: by tshark in both
    namespaces, the far host alone then takes 20 to 38 us from request to reply, where it takes 5
    when the last one was 2 ms ago. A round trip over a long link would be charged with that, and
    the floor at zero delay, whose packets follow each other closely, would not.
    """
    process = source.start("ping", "-q", "-n", "-i", interval_s, target.address,
                           stdout=subprocess.DEVNULL)
    try:
        time.sleep(0.3)
        yield
    finally:
        stop(process)


@contextlib.contextmanager
def listening(host, *command, line="ready", seconds=10):
    """A server that has said on its standard error that it listens; yields its process."""
    process = host.start(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        end = time.monotonic() + seconds
        while line not in (text := process.stderr.readline()):
            if not text or time.monotonic() > end:
                raise LabError(f"{command[0]} did not begin: {process.stderr.read()}")
        yield process
    finally:
        stop(process)
        process.stdout.close()
        process.stderr.close()


def socket_dropped(host):
    """Datagrams that a host's kernel received and its sockets had no room for, ever."""
    names, values = (line.split() for line in host.run("cat", "/proc/net/snmp").splitlines()
                     if line.startswith("Udp:"))
    return int(values[names.index("RcvbufErrors")])


class Stream:
    """UDP from source to target while the block runs; `result()` waits for its end.

    result() is the receiver's JSON with what the sender and the far kernel know: sent, what the
    receiving socket dropped, what the path lost, the rate on the wire.
    `idle_s` must exceed the path's delay and any cut. `traces` names CSV files per packet, of the
    sender and of the receiver.
    """

    def __init__(self, source, target, pps, count, payload, tos=0, batch=1, idle_s=1.0, port=5600,
                 traces=(None, None)):
        self.payload = payload
        self.limit_s = count / pps + 20
        common = ["--port", port]
        receive = ["receive", *common, "--idle", idle_s, "--count", int(count), "--seconds",
                   self.limit_s + 20]
        send = ["send", *common, "--to", target.address, "--pps", pps, "--count", int(count),
                "--size", payload, "--batch", batch, "--tos", tos, "--seconds", self.limit_s]
        send += ["--trace", traces[0]] if traces[0] else []
        receive += ["--trace", traces[1]] if traces[1] else []
        self.receiver_command = target, *realtime(10, probe_binary(), *receive)
        self.sender_command = realtime(10, probe_binary(), *send)
        self.source, self.target = source, target
        self.stack = contextlib.ExitStack()

    def __enter__(self):
        with self.stack:
            self.dropped_before = socket_dropped(self.target)
            self.receiver = self.stack.enter_context(listening(*self.receiver_command))
            self.sender = self.source.start(*self.sender_command, stdout=subprocess.PIPE,
                                            stderr=subprocess.PIPE)
            self.stack.callback(stop, self.sender)
            self.stack = self.stack.pop_all()
        return self

    def __exit__(self, *_):
        self.stack.close()

    def result(self):
        sent = self._finish(self.sender)
        result = {**self._finish(self.receiver), "sent": sent["sent"],
                  "payload_bytes": self.payload,
                  "socket_dropped": socket_dropped(self.target) - self.dropped_before}
        result["lost"] = (result["sent"] - result["unique"] - result["corrupted"]
                          - result["socket_dropped"])
        bits = 8 * wire_bytes(self.payload)
        result["wire_bits_per_s"] = result["packets_per_s"] * bits
        result["offered_wire_bits_per_s"] = sent["packets_per_s"] * bits
        result["sent_wire_bits_per_s"] = result["sent_packets_per_s"] * bits
        return result

    def _finish(self, process):
        out, errors = process.communicate(timeout=self.limit_s + 40)
        if process.returncode != 0:
            raise LabError(f"farspan-probe: exit {process.returncode}: {errors.strip()}")
        return json.loads(out)


def probe(source, target, pps, count, payload, **options):
    with Stream(source, target, pps, count, payload, **options) as stream:
        return stream.result()


def probe_rtt(source, target, count=600, pps=400, payload=64, port=5601, timeout_s=2.0):
    """Round trips through the probe's reflector: a second implementation beside ping."""
    seconds = count / pps + timeout_s
    reflect = realtime(10, probe_binary(), "reflect", "--port", port, "--seconds", seconds + 20)
    rtt = realtime(10, probe_binary(), "rtt", "--to", target.address, "--port", port, "--count",
                   count, "--pps", pps, "--size", payload, "--idle", timeout_s)
    with listening(target, *reflect):
        return json.loads(source.run(*rtt))


class RoundTrips(typing.NamedTuple):
    """What `beside_the_floor` found, in ns: medians beyond the floor, the floor, the least ping."""
    ping: float
    probe: float
    ping_floor: float
    probe_floor: float
    least: float


def beside_the_floor(source, target, floor, link, rounds=5, interval_s=0.002):
    """Round trips over the link and, in turn, over none; `floor` and `link` make the engine so.

    A machine that others share has slower and faster minutes. What a round trip takes beyond the
    floor is therefore the median over rounds, each against the floor measured next to it.
    """
    def both(pings):
        return (ping(source, target, count=pings),
                probe_rtt(source, target, count=120)["rtt_ns"]["p50"])
    floors, over = [], []
    with kept_warm(source, target, interval_s):
        for _ in range(rounds):
            floor()
            floors.append(both(30))
            link()
            over.append(both(20))
    return RoundTrips(median([median(x[0]) - median(y[0]) for x, y in zip(over, floors)]),
                      median([x[1] - y[1] for x, y in zip(over, floors)]),
                      median([median(y[0]) for y in floors]), median([y[1] for y in floors]),
                      min(x[0][0] for x in over))


def softirq_s():
    """Of the whole machine so far."""
    ticks = int(Path("/proc/stat").read_text().split("\n", 1)[0].split()[7])
    return ticks / os.sysconf("SC_CLK_TCK")


class CpuTime:
    """CPU seconds of the programs that end within the block, and of the kernel's softirqs meanwhile.

    Softirqs are where the hosts' network stacks receive. They are counted for the whole machine, so
    what delivers frames into the engine's ring is in them too; the engine's own time is not.
    """

    def __enter__(self):
        self.before = self._now()
        return self

    def __exit__(self, *_):
        programs, softirq = (a - b for a, b in zip(self._now(), self.before))
        self.seconds = {"programs_s": programs, "softirq_s": softirq, "total_s": programs + softirq}

    @staticmethod
    def _now():
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        return children.ru_utime + children.ru_stime, softirq_s()


def flow(source, target, *options, port=5700, limit_s=60):
    """Messages by farspan-flow: the receiver's JSON with the sender's and the CPU time inside."""
    def begin(host, role):
        command = (*realtime(10, binary("farspan-flow", "tests/lab")), role, "--root",
                   f"{target.address}:{port}", "--local", f"{host.address}:0", *options)
        process = host.start(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        stack.callback(stop, process)
        return process

    def end(process):
        try:
            out, errors = process.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired as error:
            raise LabError(f"farspan-flow {' '.join(options)}: not within {limit_s} s") from error
        if process.returncode != 0:
            raise LabError(f"farspan-flow {' '.join(options)}: {errors.strip()}")
        return json.loads(out)

    with CpuTime() as cpu, contextlib.ExitStack() as stack:
        receiver, sender = begin(target, "receive"), begin(source, "send")
        result = {**end(receiver), "sent": end(sender)}
    return {**result, "cpu": cpu.seconds, "cpu_s_per_GB": cpu.seconds["total_s"] * 1e9
            / max(result["bytes"], 1)}


def iperf3(source, target, *options, seconds=5, port=5201):
    """The client's JSON with the server's inside, and what the server's socket dropped."""
    server = target.start("iperf3", "-s", "-1", "-p", port, "--json", stdout=subprocess.DEVNULL)
    try:
        wait_until(lambda: target.run("ss", "-Hltn", f"sport = :{port}"), 10, "iperf3's server")
        dropped_before = socket_dropped(target)
        out = source.run("iperf3", "-c", target.address, "-p", port, "-t", seconds, "--json",
                         "--get-server-output", "--connect-timeout", 10_000, *options, check=False)
    finally:
        stop(server)
    result = json.loads(out)
    if "error" in result:
        raise LabError(f"iperf3 {' '.join(map(str, options))}: {result['error']}")
    return {**result, "socket_dropped": socket_dropped(target) - dropped_before}


def tcp_goodput(result):
    """Bits/s of payload at the receiver, and the sender's retransmissions."""
    end = result["end"]
    return end["sum_received"]["bits_per_second"], end["sum_sent"].get("retransmits", 0)


def udp_goodput(result):
    """Bits/s of payload at the receiving host over the middle of the run: its inner whole seconds.

    What came and found no room, because the program had to wait for its CPU, did cross the link.
    """
    intervals = [i["sum"] for i in result["server_output_json"]["intervals"]]
    inner = [i for i in intervals if i["seconds"] > 0.5][1:-1]
    if not inner:
        raise LabError("iperf3 ran too short for a middle")
    read = result["server_output_json"]["end"]["sum"]
    read_packets = read["packets"] - read["lost_packets"]
    return (sum(8 * i["bytes"] for i in inner) / sum(i["seconds"] for i in inner)
            * (1 + result["socket_dropped"] / read_packets))


@contextlib.contextmanager
def capture(host, file, filter_expression, device="eth0"):
    """tshark writing what `host` sees to a pcapng file, while the block runs."""
    command = ("tshark", "-q", "-i", device, "-f", filter_expression, "-w", file, "-s", 128)
    with listening(host, *command, line="Capturing on") as process:
        time.sleep(1)  # from the announcement until dumpcap really captures
        yield
        time.sleep(0.5)
        process.terminate()
        process.communicate(timeout=30)


def tshark_count(file, display_filter):
    """How many frames of a capture tshark's own dissector finds to match."""
    return len(run("tshark", "-r", file, "-Y", display_filter).splitlines())


def tshark_fields(file, display_filter, *fields):
    """One list of texts per matching frame."""
    options = [o for f in fields for o in ("-e", f)]
    out = run("tshark", "-r", file, "-Y", display_filter, "-T", "fields", *options)
    return [line.split("\t") for line in out.splitlines()]


_READ_COUNTERS = """
import json, sys, time
device, seconds = sys.argv[1], float(sys.argv[2])
files = [open(f"/sys/class/net/{device}/statistics/rx_{of}") for of in ("packets", "bytes")]
def reading():
    for file in files:
        file.seek(0)
    return time.monotonic(), *(int(file.read()) for file in files)
first = reading()
time.sleep(seconds)
print(json.dumps([last - first for last, first in zip(reading(), first)]))
"""


def interface_rate(host, device, seconds):
    """What an interface receives, by the kernel's counters: wire bits/s and packets/s.

    One process reads them, above the priority of senders and receivers: where it had to wait for
    its CPU, its times would not be those of its counts.
    """
    out = host.run(*realtime(20, sys.executable, "-c", _READ_COUNTERS, device, seconds))
    elapsed_s, packets, octets = json.loads(out)
    on_the_wire = octets + 24 * packets  # FCS, preamble, gap
    return {"wire_bits_per_s": 8 * on_the_wire / elapsed_s, "packets_per_s": packets / elapsed_s}
