"""A virtual machine with an RDMA device, and commands in it.

QEMU is a child of this process and dies with it. Requests go through virtio-serial ports whose other
ends are socket pairs, so there is no file to leave behind; see `init` for what the guest does with
them. KVM is used where it brings a guest up, else QEMU emulates the CPU.
"""

import base64
import contextlib
import dataclasses
import functools
import os
import signal
import socket
import subprocess
import time

from lab.system import LabError, start, stop, wait_until
from vm_lab import image

CHANNELS = 4  # requests at the same time, in one guest
BOOT_S = {"kvm": 20, "tcg": 120}
GRACE_S = 30  # for a starved guest to end what ran too long, and to say so
READY = "farspan-guest: ready"


@dataclasses.dataclass
class Result:
    status: int
    output: bytes
    errors: bytes

    @property
    def text(self):
        return self.output.decode(errors="replace")

    @property
    def everything(self):
        return (self.output + self.errors).decode(errors="replace")


class Running:
    """A command under way in a guest."""

    def __init__(self, guest, channel, command, seconds):
        self.guest, self.channel, self.command = guest, channel, command
        self.deadline = time.monotonic() + seconds + GRACE_S
        line = f"{seconds:g} {base64.b64encode(command.encode()).decode()}\n"
        self._io(self.channel.sendall, line.encode())

    def _io(self, call, *arguments):
        try:
            self.channel.settimeout(max(0.001, self.deadline - time.monotonic()))
            return call(*arguments)
        except OSError as error:
            raise self.guest.failure(f"{self.command!r}: {error}") from error

    def _receive(self, count):
        data = bytearray()
        while len(data) < count:
            piece = self._io(self.channel.recv, min(count - len(data), 1 << 20))
            if not piece:
                raise self.guest.failure(f"{self.command!r}: the guest is gone")
            data += piece
        return bytes(data)

    def result(self):
        """Waits for its end, with the limit that it was started with."""
        header = bytearray()
        while not header.endswith(b"\n"):
            header += self._receive(1)
        status, output, errors = map(int, header.split())
        result = Result(status, self._receive(output), self._receive(errors))
        self.guest.idle.append(self.channel)
        return result


class Guest:
    """Host number `number` of `hosts`: 10.77.0.N and fd77::N, RDMA device rxe0, GID index 1 for
    IPv4.."""

    def __init__(self, number, hosts, name, directory, mtu):
        self.number, self.hosts, self.name = number, hosts, name
        self.address, self.address6 = f"10.77.0.{number}", f"fd77::{number}"
        self.mac = f"52:54:00:77:00:{number:02x}"
        self.console = directory / f"{name}.console"
        self.log_file = directory / f"{name}.log"
        self.wire, self.mtu = directory / f"{name}.vhost", mtu  # the engine serves it
        self.process = None
        self.idle = []
        self.channels = []

    def start(self, accelerator, kernel, initramfs):
        ends = [socket.socketpair() for _ in range(CHANNELS)]
        self.channels = [mine for mine, _ in ends]
        self.idle = list(self.channels)
        self.console.unlink(missing_ok=True)
        try:
            with self.log_file.open("w") as log:
                # Until the engine serves its wire QEMU waits, and hears no SIGTERM.
                self.process = start(*self._command(accelerator, kernel, initramfs,
                                                    [theirs.fileno() for _, theirs in ends]),
                                     dies_by=signal.SIGKILL, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                     pass_fds=[theirs.fileno() for _, theirs in ends])
        finally:
            for _, theirs in ends:
                theirs.close()

    def _command(self, accelerator, kernel, initramfs, descriptors):
        megabytes = 512
        settings = (f"console=ttyS0 quiet mitigations=off panic=-1 farspan.host={self.number} "
                    f"farspan.hosts={self.hosts} farspan.mtu={self.mtu}")
        command = [
            "nice", "-n", "-15", image.which("qemu-system-x86_64"), "-name", f"farspan-{self.name}",
            "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-monitor", "none",
            "-serial", f"file:{self.console}", "-accel", accelerator, "-machine", "pc", "-cpu", "max",
            "-smp", "1", "-m", str(megabytes), "-kernel", kernel, "-initrd", initramfs,
            "-append", settings,
            "-object", f"memory-backend-memfd,id=memory,size={megabytes}M,share=on",
            "-numa", "node,memdev=memory",
            "-chardev", f"socket,id=wire,path={self.wire},reconnect=1",
            "-netdev", "vhost-user,id=wire,chardev=wire",
            # Without vectors=0 QEMU 7.2 crashes in emulation when the driver starts the queues.
            "-device", f"virtio-net-pci,netdev=wire,mac={self.mac},mrg_rxbuf=on,vectors=0,romfile=,"
                       "rx_queue_size=1024,tx_queue_size=1024",
            "-device", "virtio-serial-pci"]
        for i, descriptor in enumerate(descriptors):
            command += ["-chardev", f"socket,id=channel{i},fd={descriptor}",
                        "-device", f"virtserialport,chardev=channel{i},name=farspan.{i}"]
        return command

    def await_ready(self, seconds):
        wait_until(self._ready, seconds, f"guest {self.name}'s start")
        # QEMU's first thread delivers interrupts; it must not wait for a virtual CPU that polls.
        with contextlib.suppress(PermissionError):
            os.sched_setscheduler(self.process.pid, os.SCHED_FIFO, os.sched_param(15))

    def _ready(self):
        text = self.console_text()
        if self.process.poll() is not None or "farspan-guest: failed" in text:
            raise self.failure("it did not start")
        return READY in text

    def console_text(self):
        return self.console.read_text(errors="replace") if self.console.exists() else ""

    def failure(self, what):
        state = "runs" if self.process.poll() is None else f"ended with {self.process.returncode}"
        return LabError(f"guest {self.name}: {what} (QEMU {state})\n{self.log_file.read_text()}"
                        f"{self.console_text()[-2000:]}")

    def begin(self, command, seconds=60):
        """Starts a shell command in the guest; at most CHANNELS at a time."""
        if not self.idle:
            raise LabError(f"guest {self.name} already runs {CHANNELS} commands")
        return Running(self, self.idle.pop(), command, seconds)

    def run(self, command, seconds=60, check=True):
        result = self.begin(command, seconds).result()
        if check and result.status != 0:
            raise LabError(f"guest {self.name}: {command}: exit {result.status}: "
                           f"{result.everything.strip()[-2000:]}")
        return result

    def await_carrier(self, seconds=30):
        """Until eth0 is connected to an engine."""
        self.run("until grep -q 1 /sys/class/net/eth0/carrier; do sleep 0.05; done", seconds)

    def stop(self):
        if self.process is not None:
            stop(self.process)
        for channel in self.channels:
            channel.close()


@functools.cache
def accelerators():
    """What to try, in this order."""
    return ("kvm", "tcg") if os.access("/dev/kvm", os.R_OK | os.W_OK) else ("tcg",)
