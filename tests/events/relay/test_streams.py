"""What each broker must do for us: keep order, tell its end, refuse a second writer, and give everything out again."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest

from fortress.errors import CannotStart
from fortress.events.relay.brokers import stream_at
from fortress.events.relay.stream import BrokerAway, Message, Overtaken, Position, Stream

Another = Callable[[], Stream]


def messages(numbers: Iterable[int]) -> list[Message]:
    return [Message(Position(10 + number // 3, number), f"id-{number}", "Happened", "one", b"%d" % number) for number in numbers]


async def everything(stream: Stream) -> list[bytes]:
    found, cursor = [], None
    while received := await stream.read(cursor, 7, 0.2):
        found += [one.body for one in received]
        cursor = received[-1].cursor
    return found


async def test_what_is_sent_is_there_in_order_and_the_end_is_known(another: Another) -> None:
    writer = another()
    await writer.open()
    assert await writer.last() is None
    await writer.send(messages(range(20)))
    await writer.send(messages(range(20, 30)))
    reader = another()
    await reader.open()
    assert await reader.last() == messages([29])[0].position
    assert await everything(reader) == [b"%d" % number for number in range(30)]


async def test_reading_goes_on_where_another_reader_stopped(another: Another) -> None:
    writer, reader, later = another(), another(), another()
    for one in (writer, reader, later):
        await one.open()
    await writer.last()
    await writer.send(messages(range(10)))
    first = await reader.read(None, 4, 1)
    second = await later.read(first[-1].cursor, 4, 1)
    assert [one.body for one in [*first, *second]] == [b"%d" % number for number in range(8)]


async def test_nothing_new_is_no_error(another: Another) -> None:
    reader = another()
    await reader.open()
    assert not await reader.read(None, 10, 0.1)
    assert not await reader.read(None, 10, 0.1)


async def test_who_was_overtaken_sends_nothing_twice(another: Another) -> None:
    """A relay that was frozen with a batch in its hands, while another one sent it."""
    frozen, other = another(), another()
    for one in (frozen, other):
        await one.open()
        await one.last()
    await other.send(messages(range(5)))
    with pytest.raises(Overtaken):
        await frozen.send(messages(range(5)))
    assert await everything(other) == [b"%d" % number for number in range(5)]
    assert await frozen.last() == messages([4])[0].position
    await frozen.send(messages(range(5, 8)))
    assert await everything(other) == [b"%d" % number for number in range(8)]


async def test_a_connection_that_is_gone_is_said_and_can_be_made_again(another: Another) -> None:
    writer = another()
    await writer.open()
    await writer.last()
    await writer.send(messages(range(3)))
    await writer.close()
    await writer.open()
    assert await writer.last() == messages([2])[0].position


@pytest.mark.parametrize("url", ["nats://127.0.0.1:1", "redis://127.0.0.1:1/0", "kafka://127.0.0.1:1"])
async def test_a_broker_that_is_away_is_said_so(url: str) -> None:
    stream = stream_at(url, "nothing", 10)

    async def begin() -> None:
        await stream.open()
        await stream.last()

    with pytest.raises(BrokerAway):
        await begin()
    await stream.close()


@pytest.mark.parametrize("url", ["amqp://127.0.0.1", "nothing", "kafka://"])
def test_a_broker_that_we_do_not_know_is_refused(url: str) -> None:
    with pytest.raises(CannotStart, match="FORTRESS_BROKER_URL"):
        stream_at(url, "nothing", 10)


def test_places_compare_as_the_log_is_ordered() -> None:
    places = [Position(2, 9), Position(10, 1), Position(10, 2)]
    assert sorted([places[2], places[0], places[1]]) == places
    assert [Position.parsed(str(one)) for one in places] == places
