"""RDMA guests around an engine.

    guest a: eth0, rxe0 ── vhost-user ┐
                                      ├ engine: an ordinary process, no hugepages needed
    guest b: eth0, rxe0 ── vhost-user ┘

The guests outlive the engine and connect again to the next one, so that many links can be tried with
one boot. More than two guests make a mesh with a link between every pair.
"""

import contextlib
import itertools
import json
import os
import shutil
import string
import tempfile
import time
from pathlib import Path

from lab.engine import Engine
from lab.system import LabError, process_start, start
from vm_lab import image
from vm_lab.guest import BOOT_S, Guest, accelerators

PREFIX = "farspan-vm-"


def clean():
    """Removes the folders of labs that were killed; their processes died with them."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        if process_start(folder.name.removeprefix(PREFIX).split("-")[0]) is None:
            shutil.rmtree(folder, ignore_errors=True)


def folder_of(pid):
    """Where the lab of a process keeps its sockets and logs; None if there is none."""
    return next(Path(tempfile.gettempdir()).glob(f"{PREFIX}{pid}-*"), None)


def _toml(value):
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value)


class ThisMachine:
    """Where the engine runs."""

    start = staticmethod(start)


class VmLab:
    """with VmLab() as lab, lab.link(delay="5 ms") as engine: lab.guests["a"].run("ip address") …

    `programs` of this machine are copied into the guests; consoles and logs to the folder `logs`.
    """

    def __init__(self, count=2, mtu=4200, programs=(), logs=None, say=print):
        self.names = string.ascii_lowercase[:count]
        self.mtu, self.programs, self.logs, self.say = mtu, programs, logs, say
        self.engine = ThisMachine
        self.guests = {}
        self.accelerator = None

    def __enter__(self):
        kernel, initramfs = image.build(self.say)
        clean()
        self.directory = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))
        try:
            if self.programs:
                initramfs = image.with_programs(initramfs, self.programs, self.directory / "initramfs")
            for number, name in enumerate(self.names, 1):
                self.guests[name] = Guest(number, len(self.names), name, self.directory, self.mtu)
            with self.link(name="boot", connected=False, delay="0 ms"):
                self._boot(kernel, initramfs)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *_):
        for guest in self.guests.values():
            guest.stop()
        if self.logs is not None:
            self.logs.mkdir(parents=True, exist_ok=True)
            for file in [*self.directory.glob("*.console"), *self.directory.glob("*.log")]:
                shutil.copy(file, self.logs)
        shutil.rmtree(self.directory, ignore_errors=True)

    def _boot(self, kernel, initramfs):
        """With the first accelerator that brings all guests up."""
        for accelerator in accelerators():
            began = time.monotonic()
            try:
                for guest in self.guests.values():
                    guest.start(accelerator, kernel, initramfs)
                for guest in self.guests.values():
                    guest.await_ready(BOOT_S[accelerator])
            except LabError as error:
                if accelerator == accelerators()[-1]:
                    raise
                self.say(f"{accelerator}: {str(error).splitlines()[0]}")
                for guest in self.guests.values():
                    guest.stop()
                continue
            self.accelerator = accelerator
            self.say(f"{len(self.guests)} guests by {accelerator} in {time.monotonic() - began:.1f} s")
            return

    @contextlib.contextmanager
    def link(self, *arguments, name="engine", connected=True, **settings):
        """An engine with these settings (keys of a link) on every link, until the block ends."""
        file = self.directory / f"{name}.toml"
        file.write_text(self._configuration(settings))
        # Asleep between packets it may have real-time priority; spinning it would take a CPU that
        # the guests need.
        with Engine(self, "--config", file, "--set", "engine.idle=sleep", *arguments, name=name,
                    real_time=True) as engine:
            if connected:
                for guest in self.guests.values():
                    guest.await_carrier()
            yield engine

    def _configuration(self, settings):
        lines = ['mode = "mesh"' if len(self.guests) > 2 else "", "[engine]", f'mtu = "{self.mtu} B"']
        for guest in self.guests.values():
            lines += ["[[sites]]", f'name = "{guest.name}"', f'port = "vhost:{guest.wire}"']
            if len(self.guests) > 2:
                lines += [f'prefixes = ["{guest.address}/32", "{guest.address6}/128"]']
        for a, b in itertools.combinations(self.names, 2):
            link = "wire" if len(self.guests) == 2 else f"{a}-{b}"
            lines += ["[[links]]", f'name = "{link}"', f'a = "{a}"', f'b = "{b}"']
            lines += [f"{key} = {_toml(value)}" for key, value in settings.items()]
        return "\n".join(lines) + "\n"
