"""Connecting: the name is resolved once, every address is looked at, and the connection goes to one that was looked at."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from fortress.errors import FortressError
from fortress.outward.addresses import Reachable

if TYPE_CHECKING:
    import httpcore

MOST_ADDRESSES: Final = 16
_TRIED: Final = 2
# Gives the addresses of a name, as text; raises OSError where there are none.
Resolver = Callable[[str, int], Awaitable[Sequence[str]]]


class RefusedAddress(FortressError):
    """The name leads to where nothing is sent."""


async def resolve(host: str, port: int) -> Sequence[str]:
    """The addresses of a name, as the system knows them. Raises OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class PinnedConnections:
    """What httpcore opens connections through, in the place of its own.

    Between the look at an address and the connection to it no name is resolved, so a name that leads elsewhere a moment later (DNS
    rebinding) changes nothing. One address that may not be asked is enough to refuse the name. TLS is still checked by the name.

    Args:
        opener: opens a connection to an address; httpcore's own.
        plain: whether what goes there is not encrypted.
    """

    def __init__(self, opener: Any, reachable: Reachable, resolver: Resolver, *, plain: bool) -> None:
        self._opener = opener
        self._resolver = resolver
        self._admits = reachable.admits_plainly if plain else reachable.admits

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's own signature
        local_address: str | None = None,  # noqa: ARG002 - as above
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """A connection to the first of the name's addresses that answers; of more than two the others are not tried.

        Raises:
            RefusedAddress: one of them may not be asked.
            OSError: the name has none.
        """
        addresses = await self._resolver(host, port)
        if not addresses:
            raise OSError("the name has no address")
        if len(addresses) > MOST_ADDRESSES or not all(map(self._admits, addresses)):
            raise RefusedAddress
        *others, last = addresses[:_TRIED]
        for address in others:
            try:
                return await self._opened(address, port, timeout, socket_options)
            except Exception:  # noqa: S112 - whatever it was, the next address is tried; the last one's error is told
                continue
        return await self._opened(last, port, timeout, socket_options)

    async def sleep(self, seconds: float) -> None:
        """Wait; httpcore asks for it between two tries, of which there are none."""
        await asyncio.sleep(seconds)

    async def _opened(self, address: str, port: int, timeout: float | None, options: Iterable[Any] | None) -> httpcore.AsyncNetworkStream:  # noqa: ASYNC109
        opened: httpcore.AsyncNetworkStream = await self._opener.connect_tcp(address, port, timeout=timeout, socket_options=options)
        return opened
