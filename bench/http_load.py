"""Whole requests over HTTP: many clients, kept connections, from another core; by wrk, or by our own client where it is missing."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from bench import client_load
from bench.client import encode
from bench.machine import OTHER_CORE

CONNECTIONS: Final = 16
_SCRIPT: Final = Path(__file__).parent / "requests.lua"


class LoadFailed(RuntimeError):
    """Requests were refused or broke; the figures would mean nothing."""


class HttpRequest(msgspec.Struct, frozen=True):
    """One request of a workload. Header values hold neither `|` nor tabs."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: str = ""

    def line(self) -> str:
        head = "|".join(f"{name}={value}" for name, value in self.headers.items())
        return "\t".join((self.method, self.path, head, self.body))

    def encoded(self) -> bytes:
        return encode(self.method, self.path, self.headers, self.body.encode())


class Load(msgspec.Struct, frozen=True):
    """What a run of wrk did."""

    requests: int
    seconds: float
    refused: int
    broken: int
    p50_ms: float
    p99_ms: float

    def all_answered(self, name: str) -> Load:
        """Itself, when every request was answered with success.

        Raises:
            LoadFailed: some were not.
        """
        if self.refused or self.broken or not self.requests:
            raise LoadFailed(f"{name}: of {self.requests} requests {self.refused} were refused and {self.broken} broke")
        return self


def drive(url: str, requests: Sequence[HttpRequest], seconds: int) -> Load:
    """Send these requests over and over for so many seconds.

    Raises:
        LoadFailed: wrk could not run.
    """
    if shutil.which("wrk") is None:
        return msgspec.convert(client_load.drive(port_of(url), [request.encoded() for request in requests], seconds, CONNECTIONS), Load)
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("\n".join(request.line() for request in requests))
        file.flush()
        return _wrk(url, file.name, seconds)


def _wrk(url: str, file: str, seconds: int) -> Load:
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--timeout", "10s", "-s", str(_SCRIPT), url, "--", file]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 30, check=False, preexec_fn=_pin)
    last = (done.stdout.strip().splitlines() or [""])[-1]
    try:
        return msgspec.json.decode(last, type=Load)
    except msgspec.DecodeError:
        raise LoadFailed(f"wrk: {done.stderr.strip() or last}") from None


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])


def _pin() -> None:
    os.sched_setaffinity(0, {OTHER_CORE})
