"""A running farspan-emulator in a lab, and its HTTP interface."""

import http.client
import json
import os
import socket
from pathlib import Path

from lab.system import (ROOT, LabError, Unavailable, engine_cpu, on_all_cpus, realtime, stop,
                        wait_until)

BUILD = Path(os.environ.get("FARSPAN_BUILD", ROOT / "build/release"))


def binary(name, folder):
    """A program of the build, or Unavailable."""
    path = BUILD / folder / name
    if not path.exists():
        raise Unavailable(f"{name} is not built (cmake --preset release && cmake --build "
                          "--preset release)")
    return path


def emulator_binary():
    return binary("farspan-emulator", "emulator")


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout=5):
        super().__init__("localhost", timeout=timeout)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Engine:
    """with Engine(lab, "--wire", "a,b", "--delay", "5ms") as engine: …"""

    READY_S = 60  # the memory of a long fat link takes its time

    def __init__(self, lab, *arguments, name="engine",
                 real_time=os.environ.get("FARSPAN_LAB_REALTIME") == "1"):
        self.lab = lab
        self.socket = lab.directory / f"{name}.sock"
        self.certificate_file = lab.directory / f"{name}-certificate.json"
        self.log_file = lab.directory / f"{name}.log"
        command = [emulator_binary(), "run", *map(str, arguments), "--http",
                   f"unix:{self.socket}", "--certificate", self.certificate_file]
        if engine_cpu() is not None:
            command += ["--set", f"engine.lcores=[{engine_cpu()}]"]
        # On a machine that others keep busy, an ordinary process waits milliseconds for its CPU.
        if real_time:
            command = realtime(20, *command)
        self.command = on_all_cpus("nice", "-n", "-20", *command)
        self.process = None
        self.exit_code = None

    def __enter__(self):
        with self.log_file.open("w") as log:
            self.process = self.lab.engine.start(*self.command, stdout=log, stderr=log)
        try:
            wait_until(self._ready, self.READY_S, "the engine's /healthz")
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    def _ready(self):
        if self.process.poll() is not None:
            raise LabError(f"the engine ended with {self.process.returncode}:\n{self.log()}")
        try:
            return self._request("GET", "/healthz")[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def log(self):
        return self.log_file.read_text()

    def _request(self, method, path, body=None):
        connection = UnixConnection(self.socket)
        try:
            headers = {"Content-Type": "application/json"} if body is not None else {}
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def call(self, method, path, body=None):
        """The JSON answer; LabError unless it is a success."""
        status, text = self._request(method, path, None if body is None else json.dumps(body))
        if not 200 <= status < 300:
            raise LabError(f"{method} {path} {body}: {status} {text}")
        return json.loads(text)

    def set(self, link="wire", **settings):
        return self.call("PATCH", f"/api/v1/links/{link}", settings)

    def links(self):
        return self.call("GET", "/api/v1/links")["links"]

    def metrics(self):
        """{'name{labels}': value} of /metrics."""
        status, text = self._request("GET", "/metrics")
        if status != 200:
            raise LabError(f"/metrics: {status}")
        lines = (line.rsplit(" ", 1) for line in text.splitlines() if line and line[0] != "#")
        return {name: float(value) for name, value in lines}

    def metric(self, name, **labels):
        """The sum over all series of `name` that carry these labels."""
        wanted = [f'{k}="{v}"' for k, v in labels.items()]
        return sum(v for key, v in self.metrics().items()
                   if key.split("{")[0] == name and all(w in key for w in wanted))

    def stop(self):
        """Ends the engine; its certificate as it left it, or None if it left none."""
        if self.process is not None:
            stop(self.process)
            self.exit_code = self.process.returncode
            self.process = None
        if not self.certificate_file.exists():
            return None
        return json.loads(self.certificate_file.read_text())
