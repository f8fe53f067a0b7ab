"""A stream from its head to its end: what refuses it before, what cuts it on the way, and what its client is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from fortress.clock import SystemClock
from fortress.context import RequestContext
from fortress.errors import Refusal, Unauthenticated, Unavailable
from fortress.http.inflight import InFlight
from fortress.http.request import Message, Request
from fortress.http.streaming import Streaming
from fortress.http.streams import Feed, Happening, Lines, Stream, render_feed, render_lines

SCOPE: dict[str, Any] = {"method": "GET", "path": "/", "query_string": b""}


class Wicket:
    """What a stream asks the gate."""

    def __init__(self) -> None:
        self.refusal: Refusal | None = None
        self.broken: list[BaseException] = []

    async def refuses_still(self, _request: Request, _endpoint: object) -> Refusal | None:
        return self.refusal

    def broke(self, error: BaseException) -> None:
        self.broken.append(error)


class Journey:
    """One stream on its way."""

    def __init__(self, stream: Stream, method: str = "GET") -> None:
        self.gate = Wicket()
        self.stream = stream
        self.sent: list[Message] = []
        self.gone = asyncio.Event()
        self._sending = asyncio.Condition()
        self.ended: list[tuple[str, int]] = []
        stream.ended = lambda how, count: self.ended.append((how, count))
        self.inflight = InFlight(SystemClock(), 30)
        self._request = Request(SCOPE | {"method": method}, {}, self._receive, RequestContext("id", "127.0.0.1"))

    async def go(self) -> None:
        await self.stream.begin()
        gate: Any = self.gate
        endpoint: Any = None
        await Streaming(gate, self.inflight).send(self.stream, self._request, endpoint, self._send, self.inflight.enter())

    async def arrived(self, count: int) -> None:
        """Until so many messages were sent."""
        async with asyncio.timeout(10), self._sending:
            await self._sending.wait_for(lambda: len(self.sent) >= count)

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent)

    @property
    def whole(self) -> bool:
        """Whether the last chunk was sent, by which a client knows that it has all."""
        return self.sent[-1].get("more_body") is False

    async def _receive(self) -> Message:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        self.sent.append(message)
        async with self._sending:
            self._sending.notify_all()


async def numbers(*batches: Sequence[int], then: BaseException | None = None, wait: bool = False) -> AsyncIterator[Sequence[int]]:
    for batch in batches:
        yield batch
    if wait:
        await asyncio.Event().wait()
    if then is not None:
        raise then


async def happenings(*, then: BaseException | None = None) -> AsyncIterator[Sequence[Happening]]:
    yield ()
    yield (Happening("1.2", "Rung", {"text": "a\nb"}),)
    if then is not None:
        raise then
    await asyncio.Event().wait()


def lines(**given: Any) -> Stream:
    made = render_lines(Lines(numbers([1, 2], [], [3], **given)), None)  # type: ignore[arg-type]
    assert isinstance(made, Stream)
    return made


def feed(**given: Any) -> Stream:
    made = render_feed(Feed(happenings(**given)), None)  # type: ignore[arg-type]
    assert isinstance(made, Stream)
    return made


async def test_lines_are_sent_whole() -> None:
    journey = Journey(lines())
    await journey.go()
    assert (journey.body, journey.whole, journey.ended) == (b"1\n2\n3\n", True, [("whole", 6)])


async def test_what_fails_on_the_way_is_a_fault_and_cut() -> None:
    journey = Journey(lines(then=RuntimeError("gone")))
    await journey.go()
    assert (journey.body, journey.whole, journey.ended) == (b"1\n2\n3\n", False, [("broken", 6)])
    assert [str(error) for error in journey.gate.broken] == ["gone"]


async def test_what_is_refused_before_its_first_part_is_an_answer_like_others() -> None:
    async def refused() -> AsyncIterator[Sequence[int]]:
        for _ in range(1):
            raise Unavailable
        yield ()

    stream = render_lines(Lines(refused()), None)  # type: ignore[arg-type]
    assert isinstance(stream, Stream)
    with pytest.raises(Unavailable):
        await stream.begin()


async def test_lines_that_are_refused_on_the_way_are_cut() -> None:
    journey = Journey(lines(wait=True))
    journey.gate.refusal = Unauthenticated()
    await journey.go()
    assert (journey.whole, journey.ended) == (False, [("auth.required", 6)])


async def test_a_feed_says_why_it_ends() -> None:
    journey = Journey(feed())
    journey.gate.refusal = Unauthenticated()
    await journey.go()
    assert journey.whole
    event = b'id: 1.2\nevent: Rung\ndata: {"text":"a\\nb"}\n\n'
    assert journey.body == b":\n\n" + event + b'event: end\ndata: {"code":"auth.required","detail":"Sign in first."}\n\n'


async def test_a_feed_whose_source_refuses_says_so_too() -> None:
    journey = Journey(feed(then=Unavailable("Later.")))
    await journey.go()
    assert journey.body.endswith(b'event: end\ndata: {"code":"service.unavailable","detail":"Later."}\n\n')
    assert journey.whole


async def test_a_client_that_leaves_ends_it_and_closes_the_source() -> None:
    closed = asyncio.Event()

    async def source() -> AsyncIterator[Sequence[int]]:
        try:
            yield [1]
            await asyncio.Event().wait()
        finally:
            closed.set()

    stream = render_lines(Lines(source()), None)  # type: ignore[arg-type]
    assert isinstance(stream, Stream)
    journey = Journey(stream)
    going = asyncio.create_task(journey.go())
    await journey.arrived(2)
    journey.gone.set()
    await going
    assert closed.is_set()
    assert (journey.whole, journey.ended[0][0]) == (False, "left")


async def test_a_head_request_gets_the_head_and_closes_the_source() -> None:
    journey = Journey(lines(wait=True), method="HEAD")
    await journey.go()
    assert (journey.body, journey.whole) == (b"", True)


async def test_the_deadline_is_that_of_each_part() -> None:
    journey = Journey(lines(wait=True))
    going = asyncio.create_task(journey.go())
    await journey.arrived(3)
    journey.inflight._deadline = 0
    await asyncio.sleep(0.01)
    journey.inflight.sweep()
    await going
    assert journey.ended == [("overdue", 6)]
    assert not journey.whole
