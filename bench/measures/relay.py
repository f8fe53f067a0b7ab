"""How fast a relay sends a backlog of facts to NATS JetStream: relay."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final
from uuid import uuid4

import asyncpg

from bench.fortress_server import fortress_server, new_database
from bench.rows import Missing, Outcome
from bench.run import Measure, Run, figure
from bench.statistics import summarize

if TYPE_CHECKING:
    from nats.js import JetStreamContext

_KEY: Final = "relay"
_NATS: Final = "nats://127.0.0.1:4222"
_FACTS: Final = 20_000
_SECONDS: Final = 60.0
_BACKLOG: Final = """
    INSERT INTO events (id, at, name, version, aggregate, actor_id, request_id, payload)
    SELECT gen_random_uuid(), now(), 'OrderPlaced', 1, id, id, 'bench',
        jsonb_build_object('order_id', id, 'buyer_id', id, 'total', '12.50')
    FROM (SELECT gen_random_uuid() AS id FROM generate_series(1, $1)) AS one"""


def take(run: Run) -> Sequence[Outcome]:
    run.say("facts relayed to NATS")
    return asyncio.run(_take(run, new_database(run, "bench_relay")))


async def _take(run: Run, database: str) -> Sequence[Outcome]:
    stream = f"bench_{uuid4().hex[:8]}"
    try:
        async with _jetstream(stream) as jetstream:
            more = {"FORTRESS_BROKER_URL": _NATS, "FORTRESS_BROKER_STREAM": stream}
            server = fortress_server(run, "relay", database, more=more)
            await asyncio.to_thread(server.__enter__)
            try:
                rates = [await _drained(database, jetstream, stream) for _ in range(run.http_rounds)]
            finally:
                await asyncio.to_thread(server.stop)
    except OSError:
        return [Missing(_KEY, f"no NATS with JetStream answers on {_NATS}")]
    return [figure(_KEY, summarize(rates), facts=_FACTS)]


async def _drained(database: str, jetstream: JetStreamContext, stream: str) -> float:
    """Facts per second from the commit of a backlog to its last message."""
    before = (await jetstream.stream_info(stream)).state.last_seq
    connection = await asyncpg.connect(database, timeout=10)
    try:
        await connection.execute(_BACKLOG, _FACTS)
    finally:
        await connection.close()
    began = time.perf_counter()
    async with asyncio.timeout(_SECONDS):
        await _reached(jetstream, stream, before + _FACTS)
    return _FACTS / (time.perf_counter() - began)


async def _reached(jetstream: JetStreamContext, stream: str, sequence: int) -> None:
    while (await jetstream.stream_info(stream)).state.last_seq < sequence:  # noqa: ASYNC110 - the broker can only be asked
        await asyncio.sleep(0.02)


@asynccontextmanager
async def _jetstream(stream: str) -> AsyncIterator[JetStreamContext]:
    """A connection; the stream is made, and gone afterwards. Raises OSError where no such server answers."""
    import nats
    from nats.errors import NoServersError
    from nats.js.api import StreamConfig

    try:
        client = await nats.connect(_NATS, connect_timeout=2, max_reconnect_attempts=1, reconnect_time_wait=0.1)
    except NoServersError:
        raise ConnectionRefusedError from None
    jetstream = client.jetstream()
    try:
        await jetstream.add_stream(StreamConfig(name=stream, subjects=[f"{stream}.>"]))
        yield jetstream
    finally:
        await jetstream.delete_stream(stream)
        await client.close()


MEASURE: Final = Measure((_KEY,), take)
