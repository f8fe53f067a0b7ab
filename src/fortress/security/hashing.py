"""Password hashes: argon2id, off the event loop, in a pool that can't be flooded (ASVS V6, V11.4.2, App. C).

A password is hashed exactly as it came, as the bytes of its UTF-8 form: no trimming, no case folding, no Unicode
normalisation (ASVS V6.2.8; NIST SP 800-63B's normalisation is a SHOULD, and the two can't both be had).
"""

from __future__ import annotations

import asyncio
import math
import os
import secrets
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Final, NoReturn, Self, TypeVar

import argon2
import msgspec
from argon2.exceptions import InvalidHashError, VerificationError

from fortress import heap
from fortress.errors import FieldError, Invalid, Unavailable
from fortress.security.encoding import to_base64url
from fortress.settings import Settings

MAX_BYTES: Final = 4096
_NICENESS: Final = 10
_WAIT_SECONDS: Final = 2.0
_IDLE_SECONDS: Final = 1.0
_SALT_BYTES: Final = 16
_TAG_BYTES: Final = 32
_LANES: Final = 1
_ARGON2_VERSION: Final = 19
_STOPPING: Final = "The server is stopping."

T = TypeVar("T")


class Verified(msgspec.Struct, frozen=True):
    """Whether a password was right, and its new hash when the stored one is weaker than today's parameters."""

    ok: bool
    rehash: str | None = None

    def __repr__(self) -> str:
        return f"Verified(ok={self.ok}, rehash={'hidden' if self.rehash else None})"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        return [("ok", self.ok)]


WRONG: Final = Verified(False)


class PasswordHasher:
    """Hashes and verifies passwords in threads of its own; memory is at most `memory` in each thread.

    Args:
        memory: KiB per hash.
        passes: argon2's time cost.
        threads: hashes at once; 0: one for each core.
        queue: hashes that may wait; beyond it callers are refused at once.
        wait: seconds that a hash may wait for a thread before its caller is refused.

    Attributes:
        queued: hashes that wait for a thread.
        running: hashes under way, those of callers who have gone away included.
        rejected: hashes refused since the start.
    """

    def __init__(self, memory: int, passes: int, threads: int = 0, queue: int = 64, wait: float = _WAIT_SECONDS) -> None:
        self._argon2 = argon2.PasswordHasher(
            time_cost=passes, memory_cost=memory, parallelism=_LANES, hash_len=_TAG_BYTES, salt_len=_SALT_BYTES
        )
        self._nobody = _hash_of_nobody(memory, passes)
        self._wait = wait
        self.threads = threads or len(os.sched_getaffinity(0))
        self._pool = ThreadPoolExecutor(self.threads, thread_name_prefix="fortress-hash", initializer=_give_way)
        self._places = _Places(self.threads + queue)
        self._rejected = 0
        self._resting: asyncio.TimerHandle | None = None

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """The hasher of one worker; the workers share the cores, unless the settings say otherwise."""
        share = math.ceil(len(os.sched_getaffinity(0)) / settings.workers)
        return cls(settings.argon2_memory, settings.argon2_time, settings.hash_threads or share, settings.hash_queue)

    @property
    def queued(self) -> int:
        return self._places.queued

    @property
    def running(self) -> int:
        return self._places.running

    @property
    def rejected(self) -> int:
        return self._rejected

    async def hash(self, password: str) -> str:
        """The argon2id hash of `password`, to be stored.

        Raises:
            Invalid: the password is longer than MAX_BYTES; PasswordPolicy refuses it earlier.
            Unavailable: too many hashes are waiting.
        """
        secret = _bytes_of(password)
        if len(secret) > MAX_BYTES:
            raise Invalid([FieldError("/password", "This password is too long.", "password.too_long")])
        return await self._in_pool(lambda: self._argon2.hash(secret))

    async def verify(self, stored: str | None, password: str) -> Verified:
        """Whether `password` is the one whose hash is `stored`; None stands for an unknown person and costs the same time.

        Raises:
            Unavailable: too many hashes are waiting.
        """
        secret = _bytes_of(password)
        if len(secret) > MAX_BYTES:
            return WRONG
        return await self._in_pool(lambda: self._compare(stored, secret))

    def close(self) -> None:
        """Take no more work, drop what waits, and let go of the threads; what runs ends by itself."""
        if self._resting is not None:
            self._resting.cancel()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _compare(self, stored: str | None, secret: bytes) -> Verified:
        try:
            self._argon2.verify(stored or self._nobody, secret)
        except InvalidHashError:
            return self._compare(None, secret)
        except VerificationError:
            return WRONG
        if stored is None:
            return WRONG
        return Verified(True, self._argon2.hash(secret) if self._is_weaker(stored) else None)

    def _is_weaker(self, stored: str) -> bool:
        then = argon2.extract_parameters(stored)
        return (
            then.type is not argon2.Type.ID
            or then.version < _ARGON2_VERSION
            or then.memory_cost < self._argon2.memory_cost
            or then.time_cost < self._argon2.time_cost
            or then.hash_len < _TAG_BYTES
            or then.salt_len < _SALT_BYTES
        )

    async def _in_pool(self, work: Callable[[], T]) -> T:
        job = self._submit(work)
        answer = asyncio.wrap_future(job)
        try:
            await asyncio.wait({answer}, timeout=self._wait)
            if not answer.done() and job.cancel():
                self._reject()
            await asyncio.wait({answer})
        except asyncio.CancelledError:
            # Takes back a job that has not begun; one that runs keeps its thread, and so its place, to the end.
            job.cancel()
            raise
        if answer.cancelled():
            raise Unavailable(_STOPPING)
        self._rest_soon()
        return answer.result()

    def _rest_soon(self) -> None:
        """When nobody signs in for a while, the memory that hashes took goes back to the system; not between two hashes."""
        if self._resting is not None:
            self._resting.cancel()
        self._resting = asyncio.get_running_loop().call_later(_IDLE_SECONDS, self._rest)

    def _rest(self) -> None:
        if not (self.queued or self.running):
            with suppress(RuntimeError):
                self._pool.submit(heap.give_back)

    def _submit(self, work: Callable[[], T]) -> Future[T]:
        ticket = self._places.take()
        if ticket is None:
            self._reject()
        try:
            job = self._pool.submit(ticket.run, work)
        except RuntimeError:
            ticket.leave()
            raise Unavailable(_STOPPING) from None
        job.add_done_callback(lambda _: ticket.leave())
        return job

    def _reject(self) -> NoReturn:
        self._rejected += 1
        raise Unavailable("Too many people are signing in just now.", retry_after=math.ceil(self._wait))


class _Places:
    """Who waits and who runs, counted where the threads are, so that a caller who goes away frees nothing early."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._lock = threading.Lock()
        self.queued = 0
        self.running = 0

    def take(self) -> _Ticket | None:
        with self._lock:
            if self.queued + self.running >= self._capacity:
                return None
            self.queued += 1
            return _Ticket(self)

    def move(self, queued: int, running: int) -> None:
        with self._lock:
            self.queued += queued
            self.running += running


class _Ticket:
    """One job's place: first in the queue, then, from its thread on, among the running."""

    __slots__ = ("_began", "_places")

    def __init__(self, places: _Places) -> None:
        self._places = places
        self._began = False

    def run(self, work: Callable[[], T]) -> T:
        self._began = True
        self._places.move(-1, 1)
        return work()

    def leave(self) -> None:
        if self._began:
            self._places.move(0, -1)
        else:
            self._places.move(-1, 0)


def _give_way() -> None:
    """Where threads have a niceness of their own (Linux), hashing leaves the processor to the event loop when both want it."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)


def _bytes_of(password: str) -> bytes:
    # A lone surrogate is a character that somebody sent; it must count like any other, and not be an error.
    return password.encode("utf-8", "surrogatepass")


def _hash_of_nobody(memory: int, passes: int) -> str:
    """A hash that no password has, in today's parameters; random, so making it costs nothing."""
    salt, tag = (secrets.token_bytes(size) for size in (_SALT_BYTES, _TAG_BYTES))
    parts = f"m={memory},t={passes},p={_LANES}", _unpadded(salt), _unpadded(tag)
    return f"$argon2id$v={_ARGON2_VERSION}$" + "$".join(parts)


def _unpadded(value: bytes) -> str:
    return to_base64url(value).replace("-", "+").replace("_", "/")
