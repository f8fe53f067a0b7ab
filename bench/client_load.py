"""The load where wrk is missing: our own small client. Its figures are the server's CPU all the same, at fewer requests per second."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from typing import Final

import msgspec

from bench.client import Connection, Step, connect, repeat
from bench.statistics import quantile

_MILLISECONDS: Final = 1000


class Sent(msgspec.Struct):
    """What was sent and answered so far."""

    latencies: list[float]
    refused: int = 0


async def send(port: int, requests: Sequence[bytes], seconds: int, connections: int) -> Sent:
    """Send these requests over and over, on so many connections, for so many seconds."""
    sent, turn = Sent([]), itertools.cycle(requests)
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(connect(port)) for _ in range(connections)]
        await repeat([_step(client, turn, sent) for client in clients], seconds)
    return sent


def _step(client: Connection, turn: Iterator[bytes], sent: Sent) -> Step:
    async def step() -> object:
        began = time.perf_counter()
        client.send(next(turn))
        answer = await client.read()
        sent.latencies.append(time.perf_counter() - began)
        sent.refused += answer.status >= 400
        return answer

    return step


def drive(port: int, requests: Sequence[bytes], seconds: int, connections: int) -> dict[str, float]:
    """The same figures as wrk's script prints."""
    began = time.perf_counter()
    sent = asyncio.run(send(port, requests, seconds, connections))
    ordered = sorted(sent.latencies) or [0.0]
    return {
        "requests": len(sent.latencies),
        "seconds": time.perf_counter() - began,
        "refused": sent.refused,
        "broken": 0,
        "p50_ms": quantile(ordered, 0.5) * _MILLISECONDS,
        "p99_ms": quantile(ordered, 0.99) * _MILLISECONDS,
    }
