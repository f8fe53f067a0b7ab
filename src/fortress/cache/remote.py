"""What all processes keep together, believed only as far as this process has told Redis everything that it has heard.

That one rule bounds how stale a shared answer can be: whoever else died before telling, what this process reads was loaded
after every change that it knows of. Redis that is away, slow or full of nonsense costs time and nothing else.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol, TypeVar
from uuid import UUID

import msgspec
import structlog

from fortress.background import end_if_cancelled
from fortress.breaker import Breaker
from fortress.cache.envelope import LARGEST, Envelopes
from fortress.cache.plan import Plan
from fortress.clock import Clock, Ids
from fortress.data.changes import News

T = TypeVar("T")

MOST_UNTOLD: Final = 1000
# From here on packing and unpacking would be felt by others on the event loop.
_HEAVY: Final = 65_536
_EVERYTHING: Final = b"everything"
_PAUSE: Final = 0.05
# Redis counts in milliseconds.
_SHORTEST: Final = 0.001
_log = structlog.get_logger("fortress.cache")


class Answers(Protocol):
    """Where answers are shared; `fortress.cache.redis.RedisAnswers`. A connection that broke is a ConnectionError."""

    async def look(self, place: bytes, marks: tuple[bytes, ...]) -> tuple[bytes | None, float, tuple[bytes, ...]]: ...
    async def fill(self, place: bytes, marks: tuple[bytes, ...], tokens: tuple[bytes, ...], sealed: bytes, life: float) -> bool: ...
    async def claim(self, place: bytes, seconds: float) -> bool: ...
    async def tell(self, news: bytes, marks: tuple[bytes, ...]) -> None: ...


class Found(msgspec.Struct, frozen=True):
    """A shared answer: its value, the seconds for which it may be given, those of its load, and its packed size."""

    value: Any
    left: float
    took: float
    size: int


class Look(msgspec.Struct, frozen=True):
    """What a look at a place gave: an answer, or what whoever loads it must hand back with the load."""

    place: bytes
    marks: tuple[bytes, ...]
    tokens: tuple[bytes, ...]
    found: Found | None


class Shared:
    """The shared answers, as this process sees them.

    Args:
        timeout: seconds that one question may take.

    Attributes:
        errors: questions that failed or took too long.
    """

    def __init__(self, answers: Answers, envelopes: Envelopes, timeout: float, clock: Clock, ids: Ids) -> None:
        self.errors = 0
        self._answers = answers
        self._envelopes = envelopes
        self._timeout = timeout
        self._monotonic = clock.monotonic
        self._ids = ids
        self._breaker = Breaker()
        self._untold: deque[News] = deque()
        self._tables: Counter[str] = Counter()
        self._doubts = 0
        self._settled = 0
        self._wake = asyncio.Event()
        self._cut_off = False

    async def look(self, plan: Plan, key: bytes, row: UUID | None) -> Look | None:
        """What there is under this key; None when Redis can't be asked or may not be believed just now."""
        if not self.believed(plan):
            return None
        place = self._envelopes.place(plan.name.encode(), plan.version, key)
        marks = _marks(plan, row)
        answered = await self._ask(lambda: self._answers.look(place, marks))
        if answered is None:
            return None
        sealed, left, tokens = answered
        found = await self._opened(plan, place, sealed, left, tokens) if sealed else None
        # News that came while we asked: what was found is older, and what is loaded now may be newer than these tokens.
        return Look(place, marks, tokens, found) if self.believed(plan) else None

    async def fill(self, look: Look, packed: bytes, until: float, took: float) -> None:
        """Share what was loaded after this look, until this moment of the monotonic clock, unless there was news since."""
        if len(packed) > LARGEST:
            return
        close = self._envelopes.close
        given = (look.place, look.tokens, took, packed)
        sealed = await asyncio.to_thread(close, *given) if len(packed) > _HEAVY else close(*given)
        life = until - self._monotonic()
        if sealed is not None and life >= _SHORTEST:
            await self._ask(lambda: self._answers.fill(look.place, look.marks, look.tokens, sealed, life))

    async def claim(self, look: Look, took: float) -> bool:
        """Whether this process is the one to load it anew; also when Redis can't be asked."""
        claimed = await self._ask(lambda: self._answers.claim(look.place, 2 * took))
        return claimed is not False

    def believed(self, plan: Plan) -> bool:
        """Whether Redis knows all that this process has heard about these tables."""
        return self._doubts == self._settled and not any(table in self._tables for table in plan.tables)

    def heard(self, news: News) -> None:
        """There is news, which Redis must hear before it is believed again."""
        if len(self._untold) >= MOST_UNTOLD:
            self.doubt()
            return
        self._untold.append(news)
        self._tables.update(news.rows.keys())
        self._wake.set()

    def doubt(self) -> None:
        """News may have been missed: nothing that is there now is believed any more."""
        self._doubts += 1
        self._untold.clear()
        self._tables.clear()
        self._wake.set()

    async def keep_telling(self) -> None:
        """Tell Redis what was heard, as long as the process lives; what it did not hear, again."""
        while True:
            end_if_cancelled()
            await self._wake.wait()
            if not await self._told_one():
                await asyncio.sleep(_PAUSE)

    async def _told_one(self) -> bool:
        if self._doubts != self._settled:
            doubts = self._doubts
            told = await self._tell(self._ids.new().bytes, (_EVERYTHING,))
            self._settled = doubts if told else self._settled
        elif self._untold:
            news = self._untold[0]
            told = await self._tell(news.id.encode(), tuple(_changed(news)))
            # A doubt that came meanwhile has emptied both.
            if told and self._untold and self._untold[0] is news:
                self._untold.popleft()
                self._tables -= Counter(news.rows.keys())
        else:
            self._wake.clear()
            told = True
        return told

    async def _tell(self, news: bytes, marks: tuple[bytes, ...]) -> bool:
        async def told() -> bool:
            await self._answers.tell(news, marks)
            return True

        return await self._ask(told) is not None

    async def _opened(self, plan: Plan, place: bytes, sealed: bytes, left: float, tokens: tuple[bytes, ...]) -> Found | None:
        if len(sealed) > _HEAVY:
            return await asyncio.to_thread(self._read, plan, place, sealed, left, tokens)
        return self._read(plan, place, sealed, left, tokens)

    def _read(self, plan: Plan, place: bytes, sealed: bytes, left: float, tokens: tuple[bytes, ...]) -> Found | None:
        opened = self._envelopes.open(place, sealed)
        if opened is None or opened.tokens != tokens or left <= 0:
            return None
        try:
            return Found(plan.unpack(opened.packed), min(left, plan.lifetime.seconds), opened.took, len(opened.packed))
        except msgspec.MsgspecError:
            return None

    async def _ask(self, question: Callable[[], Awaitable[T]]) -> T | None:
        """The answer; None when there is none in time, or nobody may be asked just now."""
        if not self._breaker.admits(self._monotonic()):
            return None
        try:
            async with asyncio.timeout(self._timeout):
                answer = await question()
        except Exception as error:
            # Whatever the client may raise: the answer is somewhere else too.
            self.errors += 1
            self._cut_off = self._cut_off or isinstance(error, ConnectionError)
            self._breaker.failed(self._monotonic())
            _log.debug("cache.redis_failed", error=type(error).__name__)
            return None
        self._breaker.succeeded()
        if self._cut_off:
            # It may be another server now, or one that forgot what it was told.
            self._cut_off = False
            self.doubt()
        return answer


def _marks(plan: Plan, row: UUID | None) -> tuple[bytes, ...]:
    """What an answer depends on: its tables, or of one table a single row."""
    if row is None or plan.row_table is None:
        return (_EVERYTHING, *(_table(name) for name in sorted(plan.tables)))
    others = (_table(name) for name in sorted(plan.tables - {plan.row_table}))
    return (_EVERYTHING, _any(plan.row_table), _row(plan.row_table, row), *others)


def _changed(news: News) -> list[bytes]:
    """The marks that this news changes."""
    marks: list[bytes] = []
    for table, rows in news.rows.items():
        marks.append(_table(table))
        marks += [_any(table)] if rows is None else [_row(table, row) for row in rows]
    return marks


def _table(name: str) -> bytes:
    return b"table:" + name.encode()


def _any(name: str) -> bytes:
    return b"rows:" + name.encode()


def _row(name: str, row: UUID) -> bytes:
    return b"row:" + name.encode() + b":" + row.hex.encode()
