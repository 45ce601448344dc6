"""Programs that measure RDMA between two guests: perftest, and the pingpong of ibverbs-utils that
checks every byte. GID index 1 is IPv4, 2 is IPv6."""

import re

from lab.system import LabError
from lab.table import Row

PORT = 18515  # where all of them exchange their queue pairs' numbers, over TCP
HW_COUNTERS = "/sys/class/infiniband/rxe0/ports/1/hw_counters"


class NoClock(LabError):
    """perftest has times and rates of 0 or infinity: its start met a machine too busy to say how
    long a cycle takes (get_clock.c: its regression wants a correlation of 0.9)."""


class Pair:
    """A program that runs on both guests; the address at the end makes one the client."""

    def __init__(self, server, client, program, *options, seconds=60, gid=1):
        pingpong = program.startswith("ibv_")
        words = [program, "-d", "rxe0", "-m", "4096",
                 *(["-g", gid] if pingpong else ["-F", "-x", gid]), *options]
        self.command = " ".join(map(str, words))
        self.guests = client, server
        serving = server.begin(self.command, seconds)
        server.run(f"until netstat -ltn | grep -q :{PORT}; do sleep 0.05; done", seconds)
        self.running = client.begin(f"{self.command} {server.address}", seconds), serving

    def result(self):
        """What the client and the server wrote; LabError unless both ended well."""
        results = [running.result() for running in self.running]
        for guest, result in zip(self.guests, results):
            if result.status != 0:
                raise LabError(f"guest {guest.name}: {self.command}: exit {result.status}: "
                               f"{result.everything.strip()[-2000:]}")
        return [result.everything for result in results]


def pair(*arguments, **options):
    return Pair(*arguments, **options).result()


def _timed(*arguments, **options):
    """What the client of perftest wrote, where it could take times."""
    text, _ = pair(*arguments, **options)
    if complaint := re.search(r"^Correlation coefficient.*", text, re.M):
        raise NoClock(f"perftest could not calibrate its clock: {complaint[0]}: try again when the "
                      "machine is calmer")
    return text


def latency_ns(server, client, program, *options, count=300, **limits):
    """One-way times as perftest takes them, half a round trip each, sorted."""
    text = _timed(server, client, program, "-n", count, "-U", *options, **limits)
    times = sorted(float(us) * 1e3 for us in re.findall(r"^\d+, ([\d.]+)", text, re.M))
    if len(times) < count - 1:
        raise LabError(f"{program}: {len(times)} samples of {count}: {text[-1000:]}")
    return times


def bandwidth_bits_per_s(server, client, program, *options, size=65536, count=200, **limits):
    """Payload bits/s by perftest's average."""
    text = _timed(server, client, program, "-s", size, "-n", count, *options, **limits)
    match = re.search(rf"^\s*{size}\s+{count}\s+[\d.]+\s+([\d.]+)", text, re.M)
    if not match:
        raise LabError(f"{program}: no result: {text[-1000:]}")
    return float(match.group(1)) * 2**20 * 8


def counters(guest):
    """What the rxe driver counts."""
    lines = guest.run(f"cd {HW_COUNTERS} && grep . *").text.split()
    return {name: int(value) for name, value in (line.split(":") for line in lines)}


def quantile(times, q):
    return times[int(q * (len(times) - 1))]


def spread(times):
    """Half the distance of the quantiles at ±1 standard deviation."""
    return (quantile(times, 0.84) - quantile(times, 0.16)) / 2


def latency_row(name, near, far, delay_ns):
    """The far run's median against the near one's plus the fiber, within both runs' own spread."""
    asked = delay_ns + quantile(near, 0.5)
    measured = quantile(far, 0.5)
    tolerance = spread(near) + spread(far)
    return Row(name, f"{asked / 1e6:.3f} ± {tolerance / 1e6:.3f} ms", f"{measured / 1e6:.3f} ms",
               abs(measured - asked) <= tolerance,
               f"{delay_ns / 1e6:.4f} ms of fiber + {quantile(near, 0.5) / 1e6:.3f} ms of guests; "
               "half a round trip", {"asked": asked, "measured": measured, "tolerance": tolerance})
