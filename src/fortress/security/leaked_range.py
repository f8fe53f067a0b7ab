"""The range service of Pwned Passwords, or one that speaks like it: k-anonymity, so that it never learns a password.

Only the first five hex digits of a password's SHA-1 leave this process; the answer lists the rest of every digest that begins
so, padded to hide how many there are. SHA-1 is what the service is indexed by. It guards nothing here: who sees the five
digits knows 20 bits of a digest.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib.util
from typing import TYPE_CHECKING, Final

import structlog

from fortress.clock import Clock
from fortress.errors import CannotStart

if TYPE_CHECKING:
    import httpx

TIMEOUT: Final = 1.0
# A padded answer has at most about 2,000 lines of 38 letters and a count.
LARGEST_ANSWER: Final = 256 * 1024
PAUSE: Final = 30.0
_PREFIX: Final = 5
_CONNECTIONS: Final = 8
_OK: Final = 200
_log = structlog.get_logger("fortress.leaked")


class _NoAnswer(Exception):
    """The service did not answer in time, in size, or as it should."""


class RangeService:
    """Asks the service. Whatever goes wrong, nobody is kept from choosing a password by it (it fails open).

    Args:
        url: what the five digits are put after: https, or http on this machine.
        clock: says when the service may be asked again after it has failed.
        timeout: seconds that it may take.
    """

    def __init__(self, url: str, clock: Clock, *, timeout: float = TIMEOUT) -> None:
        self._url = url.rstrip("/") + "/"
        self._clock = clock
        self._timeout = timeout
        self._client: httpx.AsyncClient | None = None
        self._opening = asyncio.Lock()
        self._resumes = 0.0

    async def knows(self, password: str) -> bool:
        """Whether the service lists it; False, at once, for a while after it could not be asked."""
        if self._clock.monotonic() < self._resumes:
            return False
        digest = hashlib.sha1(password.encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest().upper()
        try:
            client = await self._opened()
            async with asyncio.timeout(self._timeout):
                answer = await self._ask(client, digest[:_PREFIX])
        except Exception as error:
            # Whatever a client may raise: a password may be chosen all the same.
            self._resumes = self._clock.monotonic() + PAUSE
            _log.warning("leaked.service_away", reason=type(error).__name__)
            return False
        return _lists(answer, digest[_PREFIX:].encode())

    async def close(self) -> None:
        """Close its connections."""
        if self._client is not None:
            await self._client.aclose()

    async def _opened(self) -> httpx.AsyncClient:
        async with self._opening:
            if self._client is None:
                self._client = await asyncio.to_thread(_open_client, self._timeout)
            return self._client

    async def _ask(self, client: httpx.AsyncClient, prefix: str) -> bytes:
        async with client.stream("GET", self._url + prefix) as answer:
            if answer.status_code != _OK:
                raise _NoAnswer
            return await _bounded(answer)


def require_httpx() -> None:
    """Raises CannotStart when the `breached` extra is not installed."""
    if importlib.util.find_spec("httpx") is None:
        raise CannotStart("FORTRESS_BREACHED_URL needs httpx", hint="pip install 'fortress[breached]'")


def _open_client(timeout: float) -> httpx.AsyncClient:
    """In a thread: the import and the certificates take a while."""
    import httpx

    return httpx.AsyncClient(
        headers={"add-padding": "true"},
        timeout=timeout,
        limits=httpx.Limits(max_connections=_CONNECTIONS),
        follow_redirects=False,
        trust_env=False,
    )


async def _bounded(answer: httpx.Response) -> bytes:
    body = bytearray()
    async for part in answer.aiter_bytes():
        body += part
        if len(body) > LARGEST_ANSWER:
            raise _NoAnswer
    return bytes(body)


def _lists(answer: bytes, suffix: bytes) -> bool:
    """Whether the answer has the suffix with a count; padding has a count of 0."""
    for line in answer.split():
        found, _, count = line.partition(b":")
        if found.upper() == suffix:
            return count.isdigit() and int(count) > 0
    return False
