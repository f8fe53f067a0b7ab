"""Granian, run by us: settings in, one clear line when it can't start, and a stop that loses no request.

The stop, in order: SIGTERM or Ctrl-C to the main process → each worker is told → its answers carry `Connection: close`
and readiness is 503 for `drain_seconds` → its listener closes, requests under way finish → the app's lifespan ends → exit 0.
A second signal ends the waiting; a third kills what is left.
"""

from __future__ import annotations

import errno
import math
import multiprocessing
import os
import signal
import socket
import ssl
from functools import partial
from typing import Any, Final

from granian.constants import HTTPModes, Interfaces, Loops
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server.mp import MPServer

from fortress import heap
from fortress.errors import CannotStart
from fortress.http.server_worker import MakeApp, open_worker
from fortress.settings import Settings

_SMALLEST_BUFFER: Final = 8192
# Heads a little over our own limit still reach the edge, whose refusal is a proper problem document.
_BUFFER_SLACK: Final = 4096
_BACKLOG: Final = 1024
# Granian logs by the standard library; its own handlers would print past ours.
_LOGGING: Final = {
    "formatters": {},
    "handlers": {},
    "loggers": {name: {"handlers": [], "propagate": True} for name in ("_granian", "granian.access")},
}


def check_port(host: str, port: int) -> None:
    """Make sure that nobody listens there.

    Raises:
        CannotStart: the port is taken or may not be used, or the host is no address of this machine.
    """
    where = f"{host}:{port}"
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        with socket.socket(family, kind, protocol) as probe:
            # Without SO_REUSEPORT, which Granian sets: with it two servers would share the port and nobody would know.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen(1)
    except socket.gaierror:
        raise CannotStart(f"{host} is not an address", hint="FORTRESS_HOST, such as 127.0.0.1 or 0.0.0.0") from None
    except PermissionError:
        raise CannotStart(f"not allowed to listen on {where}", hint="ports below 1024 need root; FORTRESS_PORT") from None
    except OSError as error:
        problem = f"{where} is taken by another server" if _is_taken(error) else f"can't listen on {where}: {error.strerror}"
        raise CannotStart(problem, hint="FORTRESS_PORT or FORTRESS_HOST") from None


def serve(make_app: MakeApp, settings: Settings) -> None:
    """Serve until told to stop; returns after a clean stop.

    Args:
        make_app: makes the ASGI app in each worker process; its argument says when that process drains.
        settings: address, workers, TLS, limits of time and size.

    Raises:
        CannotStart: the port is taken, or the certificate and key don't fit.
        SystemExit: with 1, when the workers keep dying.
    """
    check_port(settings.host, settings.port)
    _check_tls(settings)
    # The workers inherit what is already imported and open, so make_app needn't be picklable; what was free before, they need not.
    heap.give_back()
    multiprocessing.set_start_method("fork", force=True)
    server = _Server(**_granian_settings(settings))
    # Granian loads its target in the worker, with the worker's loop already current.
    server.serve(target_loader=partial(open_worker, make_app, settings.drain_seconds, os.getpid()), wrap_loader=False)


class _Server(MPServer):
    """Granian, whose first signal is a drain, the second one haste, the third one the end."""

    def __init__(self, **settings: Any) -> None:
        super().__init__("fortress", **settings)
        self._asked = 0
        self._main = os.getpid()

    def signal_handler_interrupt(self, *given: Any) -> None:
        """What the main process does on SIGINT and SIGTERM; a worker that is not up yet inherits it and just goes."""
        number: int = given[0]
        if os.getpid() != self._main:
            _leave_while_starting(number)
            return
        self._asked += 1
        if self._asked == 1:
            super().signal_handler_interrupt(*given)  # type: ignore[no-untyped-call]
        else:
            self._hurry(signal.SIGUSR1 if self._asked == 2 else signal.SIGKILL)

    def shutdown(self, exit_code: int = 0) -> None:
        """Stop the workers and leave; a stop that was asked for is a good end."""
        try:
            super().shutdown(exit_code)  # type: ignore[no-untyped-call]
        except SystemExit:
            # A worker may leave on the group's signal before this process has seen its own: that was no crash.
            if not self._asked:
                raise

    def _hurry(self, number: signal.Signals) -> None:
        for worker in self.wrks:
            if worker.inner.is_alive():
                os.kill(worker.inner.pid, number)


def _leave_while_starting(number: int) -> None:
    if number == signal.SIGTERM:
        os._exit(0)


def _granian_settings(settings: Settings) -> dict[str, Any]:
    return {
        "address": _ip_address(settings.host, settings.port),
        "port": settings.port,
        "interface": Interfaces.ASGI,
        "workers": settings.workers,
        "loop": Loops.uvloop,
        # HTTP/2 is a proxy's work: its own attacks, and health checks over it kept old workers alive.
        "http": HTTPModes.http1,
        "websockets": False,
        "backlog": _BACKLOG,
        "backpressure": settings.max_connections,
        "http1_settings": HTTP1Settings(
            # Also cuts silent sockets and idle keep-alive connections.
            header_read_timeout=int(settings.header_timeout * 1000),
            keep_alive=True,
            max_buffer_size=max(_SMALLEST_BUFFER, settings.max_head + _BUFFER_SLACK),
        ),
        "log_level": LogLevels(settings.log_level),
        "log_dictconfig": _LOGGING,
        "log_access": False,
        "ssl_cert": settings.tls_cert,
        "ssl_key": settings.tls_key,
        "respawn_failed_workers": True,
        "workers_kill_timeout": settings.kill_seconds + math.ceil(settings.drain_seconds),
    }


def _ip_address(host: str, port: int) -> str:
    """Granian binds to addresses, not to names."""
    address: str = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][4][0]  # type: ignore[assignment]
    return address


def _is_taken(error: OSError) -> bool:
    return error.errno == errno.EADDRINUSE


def _check_tls(settings: Settings) -> None:
    if settings.tls_cert is None and settings.tls_key is None:
        return
    if settings.tls_cert is None or settings.tls_key is None:
        raise CannotStart("TLS needs a certificate and its key", hint="FORTRESS_TLS_CERT and FORTRESS_TLS_KEY")
    try:
        # The empty password keeps an encrypted key from asking the terminal for one.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(settings.tls_cert, settings.tls_key, password="")
    except (OSError, ssl.SSLError) as error:
        reason = error.strerror or getattr(error, "reason", None) or "not a PEM certificate and its key"
        raise CannotStart(f"the TLS certificate and key can't be used: {reason}") from None
