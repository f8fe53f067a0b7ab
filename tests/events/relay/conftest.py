"""A stream of one's own on each broker that answers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from uuid import uuid4

import pytest

from fortress.events.relay.brokers import stream_at
from fortress.events.relay.redis import PREFIX
from fortress.events.relay.stream import Stream
from fortress.testing.servers import NATS, NATS_URL, REDIS, REDIS_URL, answers, server_names, server_url

Another = Callable[[], Stream]


@pytest.fixture(scope="session", params=server_names()[:1])
def postgres_server(request: pytest.FixtureRequest) -> Iterator[str]:
    """One server is enough here: brokers are what differs."""
    with server_url(request.param, request.config.rootpath) as url:
        yield url


@pytest.fixture(params=["nats", "redis"])
async def broker(request: pytest.FixtureRequest) -> AsyncIterator[tuple[str, str]]:
    """A broker's URL, and the name of a stream that is gone after the test."""
    kind: str = request.param
    if not answers(*(NATS if kind == "nats" else REDIS)):
        pytest.skip(f"no {kind} answers")
    url = NATS_URL if kind == "nats" else REDIS_URL
    name = f"test_{uuid4().hex[:12]}"
    yield url, name
    await (_drop_nats(url, name) if kind == "nats" else _drop_redis(url, name))


@pytest.fixture
async def another(broker: tuple[str, str]) -> AsyncIterator[Another]:
    """Makes one more end of the stream, as another process would have it."""
    ends: list[Stream] = []

    def make() -> Stream:
        ends.append(stream_at(*broker, keep=10_000))
        return ends[-1]

    yield make
    for end in ends:
        await end.close()


async def _drop_nats(url: str, name: str) -> None:
    import nats
    from nats.js.errors import NotFoundError

    client = await nats.connect(url)
    try:
        await client.jetstream().delete_stream(name)
    except NotFoundError:
        return
    finally:
        await client.close()


async def _drop_redis(url: str, name: str) -> None:
    from redis.asyncio import Redis

    client: Redis = Redis.from_url(url)
    await client.delete(PREFIX + name)
    await client.aclose()
