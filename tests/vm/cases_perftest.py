"""perftest across the fiber: distance is what latency says it is, and bulk transfers survive loss."""

import contextlib
import threading
import time

import harness
from lab import table
from lab.table import Row
from vm_lab import rdma

FAR_NS = 2000e3 * 1.4682 / 299_792_458 * 1e9  # 2,000 km of SMF-28e
TWIN_NS = 2 * FAR_NS
LONG_TIMEOUT = ("-u", "20")  # 4.3 s: emulated CPUs starve for longer than perftest's 67 ms


# A starved guest does not empty its ring, and the engine cannot deliver: that is no fault of the
# engine's, but it is lateness. These bounds are for the guests, not for the engine.
BUDGETS = harness.budgets(arrival_p99="100 ms", lateness_p99="100 ms", lateness_max="5 s")
# Bulk transfers starve a guest the longest, and nothing of theirs is judged by its time.
BULK = harness.budgets(lateness_p99="1 s")


@contextlib.contextmanager
def link(lab, *arguments, **settings):
    """A link whose certificate must be valid; gives the engine."""
    with lab.link(*BUDGETS, *arguments, **settings) as engine:
        yield engine
        time.sleep(0.3)  # its books close when the guests are quiet
        harness.check_certificate(engine, engine.stop())


@contextlib.contextmanager
def _kept_warm(source, target):
    """A steady ping beside what is measured, near and far alike.

    Between two messages 20 ms apart guests and engine fall asleep; without it their waking, about
    1 ms each way, would count as fiber.
    """
    command = f"busybox ping -q -i 0.002 -w 7 {target.address}"
    thread = threading.Thread(target=source.run, args=(command,),
                              kwargs={"seconds": 60, "check": False})
    thread.start()
    try:
        yield
    finally:
        thread.join()  # after 7 s


PROGRAMS = {"ib_write_lat": (), "ib_send_lat": ("-e",)}
ROUNDS = 3  # near and far in turn: an emulated guest has slower and faster minutes


def _add_latencies(lab, times):
    a, b = lab.guests.values()
    with _kept_warm(a, b):
        for program, options in PROGRAMS.items():
            times[program] += rdma.latency_ns(b, a, program, *options, *LONG_TIMEOUT, count=100)


def latency(lab, rows):
    """0 km against 2,000 km: the difference is the fiber, within the guests' own spread."""
    near, far = ({program: [] for program in PROGRAMS} for _ in range(2))
    with link(lab, distance="2000 km") as engine:
        for _ in range(ROUNDS):
            engine.set(delay="0 ms")
            _add_latencies(lab, near)
            engine.set(distance="2000 km")
            _add_latencies(lab, far)
    for program in PROGRAMS:
        near[program].sort()
        far[program].sort()
        row = rdma.latency_row(program, near[program], far[program], FAR_NS)
        twin = rdma.latency_row(f"{program}, judged against 4,000 km", near[program], far[program],
                                TWIN_NS)
        if row.passed and twin.passed:
            raise harness.Unbelievable(f"{program}: the guests' own spread cannot tell 2,000 km "
                                       f"from 4,000: ± {row.values['tolerance'] / 1e6:.1f} ms")
        twin.passed, twin.note = not twin.passed, "must not agree"
        rows += row, twin


def _transfers(lab, rows, when):
    """Each ends with status 0 on both sides, or LabError says why not."""
    a, b = lab.guests.values()
    for program in ("ib_write_bw", "ib_send_bw", "ib_read_bw"):
        rate = rdma.bandwidth_bits_per_s(b, a, program)
        rows.append(Row(f"{program}, {when}", "exit 0", f"exit 0, {rate / 1e6:.0f} Mb/s", rate > 0, "",
                        {"bits_per_s": rate}))
    rdma.pair(b, a, "ibv_rc_pingpong", "-c", "-s", 65536, "-n", 50)
    rows.append(Row(f"ibv_rc_pingpong, {when}", "every byte as sent", "every byte as sent", True,
                    "2 x 50 x 64 KiB, checked by the program"))


def transfers(lab, rows):
    """Writes, sends and reads of 12.8 MiB each over 500 km, without loss and at 1e-3."""
    a, _ = lab.guests.values()
    with link(lab, *BULK, distance="500 km") as engine:
        _transfers(lab, rows, "no loss")
        rows.append(table.exactly("frames lost", 0, _lost(engine)))
    with link(lab, *BULK, distance="500 km", loss="1e-3") as engine:
        before = rdma.counters(a)
        _transfers(lab, rows, "loss 1e-3")
        rows.append(harness.at_least("frames lost", 1, _lost(engine)))
        retries = rdma.counters(a)["completer_retry_err"] - before["completer_retry_err"]
        rows.append(harness.at_least("retries, by rxe's own counter", 1, retries))


def _lost(engine):
    return sum(harness.dropped(engine, direction=way) for way in ("ab", "ba"))


CASES = (latency, transfers)
