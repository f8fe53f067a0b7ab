"""Answers whose body is made while it is sent: long lists a line at a time, and what goes on happening.

Nothing of them is kept: the next part is asked for when the client has taken the one before.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, Generic, TypeVar

import msgspec

from fortress.errors import Refusal
from fortress.http.answers import Answer, Header
from fortress.http.request import Request

T = TypeVar("T")

NDJSON: Final = "application/x-ndjson"
EVENT_STREAM: Final = "text/event-stream"
_encoder: Final = msgspec.json.Encoder(decimal_format="string")
# A proxy that collects the body would undo it all.
_UNCOLLECTED: Final[Header] = (b"x-accel-buffering", b"no")
_HEARTBEAT: Final = b":\n\n"


class Stream(Answer):
    """An answer in parts.

    Attributes:
        farewell: the last bytes of a stream that is refused on its way; None: it breaks off, so that nobody takes it for whole.
        ended: told how it ended and of how many bytes, when it has.
    """

    __slots__ = ("_first", "_parts", "ended", "farewell")

    def __init__(self, parts: AsyncIterator[bytes], headers: Sequence[Header], farewell: Callable[[Refusal], bytes] | None = None) -> None:
        super().__init__(200, b"", headers)
        self.farewell = farewell
        self.ended: Callable[[str, int], None] | None = None
        self._parts = parts
        self._first = b""

    async def begin(self) -> None:
        """Make the first part, while it still can be refused. Raises Refusal."""
        self._first = await anext(self._parts, b"")

    async def parts(self) -> AsyncIterator[bytes]:
        """Every part, the first one too."""
        yield self._first
        async for part in self._parts:
            yield part

    async def close(self) -> None:
        """No more parts are wanted."""
        async with closed_after(self._parts):
            pass


class Lines(msgspec.Struct, Generic[T], frozen=True):
    """200 with one JSON value a line (NDJSON), sent as the batches come; for lists of any length."""

    batches: AsyncIterator[Sequence[T]]

    def __repr__(self) -> str:
        return "Lines()"


class Happening(msgspec.Struct, frozen=True):
    """One event of a feed: what it is called, what it says, and the id by which a client goes on after it."""

    id: str
    name: str
    data: Any


class Feed(msgspec.Struct, Generic[T], frozen=True):
    """200 with server-sent events of `T` (WHATWG HTML §9.2) as they happen; an empty batch is a sign of life."""

    happenings: AsyncIterator[Sequence[Happening]]

    def __repr__(self) -> str:
        return "Feed()"


def render_lines(value: Lines[Any], _request: Request) -> Answer:
    return Stream(_lines(value.batches), ((b"content-type", b"%b; charset=utf-8" % NDJSON.encode()), _UNCOLLECTED))


def render_feed(value: Feed[Any], _request: Request) -> Answer:
    return Stream(_events(value.happenings), ((b"content-type", b"%b; charset=utf-8" % EVENT_STREAM.encode()), _UNCOLLECTED), _ended)


async def _lines(batches: AsyncIterator[Sequence[Any]]) -> AsyncIterator[bytes]:
    async with closed_after(batches):
        async for batch in batches:
            if batch:
                yield _encoder.encode_lines(batch)


async def _events(happenings: AsyncIterator[Sequence[Happening]]) -> AsyncIterator[bytes]:
    async with closed_after(happenings):
        async for batch in happenings:
            yield b"".join(map(event_text, batch)) or _HEARTBEAT


@asynccontextmanager
async def closed_after(source: AsyncIterator[Any]) -> AsyncIterator[None]:
    """The source is closed when the block ends, and not when somebody collects it."""
    try:
        yield
    finally:
        close = getattr(source, "aclose", None)
        if close is not None:
            await close()


def event_text(happening: Happening) -> bytes:
    """The event as it is sent; JSON has no bare line breaks, so that it is one line of data."""
    return b"id: %b\nevent: %b\ndata: %b\n\n" % (happening.id.encode(), happening.name.encode(), _encoder.encode(happening.data))


def _ended(refusal: Refusal) -> bytes:
    """Says why nothing more comes; without an id, so that the client goes on where it was."""
    return b"event: end\ndata: %b\n\n" % _encoder.encode({"code": refusal.code, "detail": refusal.detail})
