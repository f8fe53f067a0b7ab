"""What calls to a key service have in common: a bound on their time, few tries, and errors that tell nothing."""

from __future__ import annotations

import asyncio
import importlib
import time
from collections.abc import Awaitable, Callable
from ipaddress import ip_address
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import msgspec

from fortress.breaker import Breaker
from fortress.errors import CannotStart, Unavailable

T = TypeVar("T")


class ServiceAway(Exception):
    """A key service gave no answer that counts. The reason is a name or a status, never what was sent or answered.

    Args:
        reason: for the log and the operator.
        lasting: asking again at once would not help.
    """

    def __init__(self, reason: str, *, lasting: bool = False) -> None:
        super().__init__(reason)
        self.lasting = lasting


class Patience(msgspec.Struct, frozen=True):
    """How long a key service may take: `tries` times `seconds` each, `pause` seconds in between."""

    seconds: float = 2.0
    tries: int = 2
    pause: float = 0.1


PATIENCE: Final = Patience()
# Calls in a row that failed before nobody waits for the next one any more, and for how many seconds then.
FAILURES: Final = 3
FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 8.0
_SILENT: Final = "The key service does not answer."


class Line:
    """The way to one key service: each call bounded in its time and tries, and none for a while once several in a row have failed.

    Args:
        patience: how long a call may take.
        monotonic: seconds.
    """

    def __init__(self, patience: Patience = PATIENCE, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._patience = patience
        self._monotonic = monotonic
        self._breaker = Breaker(failures=FAILURES, first=FIRST_PAUSE, longest=LONGEST_PAUSE)

    async def answer(self, ask: Callable[[], Awaitable[T]]) -> T:
        """What `ask` gives; asked again, a bounded number of times, when the service is away.

        What the service refuses for good is an answer too: it may well do other things.

        Raises:
            Unavailable: it stays away, and its cause is the ServiceAway with the reason; or it was away just now.
        """
        if not self._breaker.admits(self._monotonic()):
            raise Unavailable(_SILENT)
        try:
            found = await _answered(ask, self._patience)
        except Unavailable as refusal:
            if isinstance(refusal.__cause__, ServiceAway) and not refusal.__cause__.lasting:
                self._breaker.failed(self._monotonic())
            else:
                self._breaker.succeeded()
            raise
        self._breaker.succeeded()
        return found


async def _answered(ask: Callable[[], Awaitable[T]], patience: Patience) -> T:
    left = patience.tries
    while True:
        left -= 1
        try:
            return await _in_time(ask, patience.seconds)
        except ServiceAway as away:
            if away.lasting or left <= 0:
                raise Unavailable(_SILENT) from away
        await asyncio.sleep(patience.pause)


async def _in_time(ask: Callable[[], Awaitable[T]], seconds: float) -> T:
    try:
        async with asyncio.timeout(seconds):
            return await ask()
    except TimeoutError:
        raise ServiceAway(f"no answer in {seconds:g} s") from None


async def loaded(module: str, extra: str) -> Any:
    """A module that only key services need, imported in a thread since it is large.

    Raises:
        CannotStart: it is not installed; the hint names the extra.
    """
    try:
        return await asyncio.to_thread(importlib.import_module, module)
    except ImportError:
        raise CannotStart(
            f"FORTRESS_WRAPPING_KEY needs {module.partition('.')[0]}, which is not installed", hint=f"pip install 'fortress[{extra}]'"
        ) from None


def private_address(url: str) -> str:
    """The address of a key service, which keys and tokens travel to: https, or http on this machine (ASVS V12.2.1, V12.3.1).

    Raises:
        CannotStart: it is neither.
    """
    parts = urlsplit(url)
    if not parts.hostname or not (parts.scheme == "https" or (parts.scheme == "http" and _here(parts.hostname))):
        raise CannotStart("FORTRESS_WRAPPING_KEY: a key service is reached by https", hint="http is for 127.0.0.1 alone")
    if parts.username is not None:
        raise CannotStart("FORTRESS_WRAPPING_KEY: no credentials in the address", hint="FORTRESS_VAULT_TOKEN, or the AWS credentials chain")
    return url.rstrip("/")


def _here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
