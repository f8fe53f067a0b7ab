"""No test reaches the network: an address that is not this machine's own is refused before anything is sent."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from ipaddress import ip_address
from typing import Any, Final
from unittest.mock import patch

_OUT: Final = ("connect", "connect_ex", "sendto", "sendmsg")


class NetworkRefused(Exception):
    """A test tried to reach another machine. No OSError, lest it pass for a server that is away."""


@contextmanager
def loopback_only() -> Iterator[None]:
    """Refuse, in this process, to look up names and to speak to addresses other than loopback and Unix sockets.

    Servers that tests start are processes of their own and not held by this.
    """
    with ExitStack() as stack:
        for name in _OUT:
            stack.enter_context(patch.object(socket.socket, name, _guarded(getattr(socket.socket, name)), create=True))
        stack.enter_context(patch.object(socket, "getaddrinfo", _looking_up(socket.getaddrinfo)))
        yield


def _guarded(original: Callable[..., Any]) -> Callable[..., Any]:
    def guarded(self: socket.socket, *arguments: Any) -> Any:
        # The address comes last, whatever else is given; a connected socket may send without one.
        if self.family in (socket.AF_INET, socket.AF_INET6) and arguments and isinstance(arguments[-1], tuple):
            _refuse_far(arguments[-1][0])
        return original(self, *arguments)

    return guarded


def _looking_up(original: Callable[..., Any]) -> Callable[..., Any]:
    def looking_up(host: Any, *arguments: Any, **options: Any) -> Any:
        if str(host).endswith(".invalid"):
            # Never a name of anybody (RFC 6761 §6.4), so nobody need be asked.
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        if not _is_address(host):
            _refuse_far(host)
        return original(host, *arguments, **options)

    return looking_up


def _is_address(host: Any) -> bool:
    try:
        ip_address(str(host))
    except ValueError:
        return False
    return True


def _refuse_far(host: Any) -> None:
    name = host.decode("ascii", "replace") if isinstance(host, bytes) else host
    if name in (None, "", "localhost"):
        return
    try:
        address = ip_address(str(name))
        near = address.is_loopback or address.is_unspecified
    except ValueError:
        near = False
    if not near:
        raise NetworkRefused(f"tests don't reach the network, and {name} is not on this machine")
