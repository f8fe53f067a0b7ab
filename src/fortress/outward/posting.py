"""Posting: one request, one answer, and neither more time nor more bytes than were meant for it."""

from __future__ import annotations

import asyncio
import importlib
import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from enum import StrEnum
from importlib.util import find_spec
from time import perf_counter
from typing import Any, Final

import msgspec

from fortress.errors import CannotStart, FortressError
from fortress.outward.addresses import Network, Reachable
from fortress.outward.connecting import PinnedConnections, RefusedAddress, Resolver, resolve
from fortress.outward.destination import Destination, RefusedDestination, read_destination

SECONDS: Final = 15.0
CONNECT_SECONDS: Final = 5.0
BODY_SECONDS: Final = 2.0
# What of an answer is read at all: enough to see what is wrong, and no more.
MOST_READ: Final = 4096
_LONGEST_RETRY_AFTER: Final = 100
_STEPS: Final = 8
_MODULE: Final = "httpcore"
_HEADERS: Final = {"accept-encoding": "identity", "connection": "close", "user-agent": "fortress"}


class Fault(StrEnum):
    """Why there was no answer."""

    URL = "url_refused"
    ADDRESS = "address_refused"
    NAME = "name_unknown"
    CONNECTION = "no_connection"
    CERTIFICATE = "tls_failed"
    TIME = "too_slow"
    ANSWER = "broken_answer"


class Unanswered(FortressError):
    """There was no answer that could be read."""

    def __init__(self, fault: Fault, seconds: float) -> None:
        super().__init__(fault.value)
        self.fault = fault
        self.seconds = seconds


class Answered(msgspec.Struct, frozen=True):
    """An answer, as far as it matters.

    Attributes:
        retry_after: that header as it came, where it came.
        start: the first bytes of the body, at most MOST_READ.
        seconds: until the head of the answer was there.
    """

    status: int
    retry_after: str | None
    start: bytes
    seconds: float


class Outward:
    """Posts to URLs that somebody else has chosen.

    https only, to public addresses and the networks that are admitted; http to this machine, where `plain` says so and it is
    admitted. No redirect is followed, no proxy asked, no connection kept, and no name resolved twice.

    Args:
        networks: admitted though they are not public.
        plain: whether http:// is asked at all.
        seconds: that all of it may take.
        resolver: finds the addresses of names.
        trusted: by what TLS is checked; unset: the usual authorities.
    """

    def __init__(
        self,
        networks: Sequence[Network] = (),
        *,
        plain: bool = False,
        seconds: float = SECONDS,
        resolver: Resolver = resolve,
        trusted: ssl.SSLContext | None = None,
    ) -> None:
        self._reachable = Reachable(networks)
        self._plain = plain
        self._seconds = seconds
        self._resolver = resolver
        self._trusted = trusted
        self._loading = asyncio.Lock()
        self._core: Any = None

    @staticmethod
    def installed() -> bool:
        """Whether what it needs is there: the extra `webhooks`."""
        return find_spec(_MODULE) is not None

    def read(self, url: str) -> Destination:
        """Where a URL leads, as far as can be said without asking for its name.

        Raises:
            RefusedDestination: nothing will ever be sent there.
        """
        destination = read_destination(url, plain=self._plain)
        admits = self._reachable.admits_plainly if destination.plain else self._reachable.admits
        if destination.address is not None and not admits(destination.address):
            raise RefusedDestination("this address is not public")
        return destination

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answered:
        """The answer to these bytes.

        Raises:
            Unanswered: there is none, or none that may be asked for.
            CannotStart: the extra `webhooks` is not installed.
        """
        core = await self._ready()
        began = perf_counter()
        try:
            destination = self.read(url)
            async with asyncio.timeout(self._seconds):
                return await self._exchange(core, destination, {**headers, **_HEADERS, "host": destination.authority}, body, began)
        except Exception as error:
            fault = _fault(core, error)
            if fault is None:
                raise
            raise Unanswered(fault, perf_counter() - began) from None

    async def _exchange(self, core: Any, to: Destination, headers: Mapping[str, str], body: bytes, began: float) -> Answered:
        connections = PinnedConnections(core.AnyIOBackend(), self._reachable, self._resolver, plain=to.plain)
        scheme = b"http" if to.plain else b"https"
        url = core.URL(scheme=scheme, host=to.host.encode(), port=to.port, target=to.target.encode())
        times = {"connect": CONNECT_SECONDS, "read": self._seconds, "write": self._seconds, "pool": self._seconds}
        async with core.AsyncConnectionPool(
            ssl_context=self._trusted, max_connections=1, max_keepalive_connections=0, network_backend=connections
        ) as pool:
            asked = [(name.encode(), value.encode()) for name, value in headers.items()]
            async with pool.stream("POST", url, headers=asked, content=body, extensions={"timeout": times}) as answer:
                seconds = perf_counter() - began
                return Answered(answer.status, _retry_after(answer.headers), await _start(core, answer), seconds)

    async def _ready(self) -> Any:
        async with self._loading:
            if self._core is None:
                self._core = await asyncio.to_thread(_load)
                self._trusted = self._trusted or await asyncio.to_thread(self._core.default_ssl_context)
        return self._core


def _load() -> Any:
    """In a thread: the import takes a while."""
    try:
        return importlib.import_module(_MODULE)
    except ImportError:
        raise CannotStart("sending webhooks needs httpx, which is not installed", hint="pip install 'fortress[webhooks]'") from None


async def _start(core: Any, answer: Any) -> bytes:
    """The first bytes of the body. The status is known by then: a body that stalls or breaks off takes nothing from it."""
    start = bytearray()
    with suppress(TimeoutError, core.TimeoutException, core.NetworkError, core.ProtocolError):
        async with asyncio.timeout(BODY_SECONDS):
            async for part in answer.aiter_stream():
                start += part
                if len(start) >= MOST_READ:
                    break
    return bytes(start[:MOST_READ])


def _retry_after(headers: Sequence[tuple[bytes, bytes]]) -> str | None:
    found = next((value for name, value in headers if name.lower() == b"retry-after"), None)
    return None if found is None else found[:_LONGEST_RETRY_AFTER].decode("latin-1")


def _fault(core: Any, error: Exception) -> Fault | None:
    """What it was; None: a fault of ours."""
    if any(isinstance(cause, ssl.SSLError) for cause in _causes(error)):
        return Fault.CERTIFICATE
    known = (
        (RefusedDestination, Fault.URL),
        (RefusedAddress, Fault.ADDRESS),
        ((TimeoutError, core.TimeoutException), Fault.TIME),
        ((core.ConnectError, core.NetworkError), Fault.CONNECTION),
        (core.ProtocolError, Fault.ANSWER),
        ((OSError, UnicodeError), Fault.NAME),
    )
    return next((fault for kinds, fault in known if isinstance(error, kinds)), None)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what led to it; a few steps, for nothing says that a chain ends."""
    found: BaseException | None = error
    for _ in range(_STEPS):
        if found is None:
            return
        yield found
        found = found.__cause__ or found.__context__
