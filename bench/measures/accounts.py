"""Accounts: rotating refreshes per vCPU (refresh), logins against argon2 alone (logins), others' waits under a flood (login-flood)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from typing import Final

from argon2 import PasswordHasher

from bench.client import Connection, Step, connect, repeat
from bench.fortress_server import fortress_server, new_database
from bench.machine import MEASURED_CORE, OTHER_CORE
from bench.people import API, PASSWORD, Person, people
from bench.rows import Outcome
from bench.run import Measure, Run, figure
from bench.servers import Server
from bench.statistics import quantile, ratios, summarize
from fortress.settings import Settings

_CLIENTS: Final = 8
_FLOOD: Final = 200
_PROBE_EVERY: Final = 0.01
# What Retry-After says.
_COME_AGAIN: Final = 1.0
_CORES: Final = len({MEASURED_CORE, OTHER_CORE})


def take(run: Run) -> Sequence[Outcome]:
    database = new_database(run, "bench_accounts")
    with fortress_server(run, "refresh", database) as server:
        run.say("rotating refreshes")
        refreshes = asyncio.run(_refreshes(server, run))
    with fortress_server(run, "logins", database, cores=(MEASURED_CORE, OTHER_CORE)) as server:
        run.say("logins and argon2 alone")
        logins, alone = asyncio.run(_logins(server, run))
        run.say("another route under a flood of logins")
        waits = asyncio.run(_waits_under_flood(server, run))
    return [
        figure("refresh", summarize([1 / each for each in refreshes]), us=round(summarize(refreshes).median * 1e6)),
        figure(
            "logins", ratios(logins, alone), logins_per_s=round(summarize(logins).median, 1), argon2_per_s=round(summarize(alone).median, 1)
        ),
        figure("login-flood", summarize(waits), logins_at_once=_FLOOD),
    ]


async def _waits_under_flood(server: Server, run: Run) -> list[float]:
    """The 99th percentile of another route's answers in milliseconds, round by round, while _FLOOD clients sign in at once."""
    async with AsyncExitStack() as stack:
        user = (await people(server.port, 1))[0]
        flood = [_knocking(await stack.enter_async_context(connect(server.port)), user) for _ in range(_FLOOD)]
        probe = await stack.enter_async_context(connect(server.port))
        return [await _p99_beside(flood, probe, run.seconds) for _ in range(run.http_rounds)]


async def _p99_beside(flood: list[Step], probe: Connection, seconds: float) -> float:
    knocking = asyncio.create_task(repeat(flood, seconds))
    waits = []
    while not knocking.done():
        began = time.perf_counter()
        (await probe.ask("GET", f"{API}/products")).value()
        waits.append((time.perf_counter() - began) * 1000)
        await asyncio.sleep(_PROBE_EVERY)
    await knocking
    return quantile(sorted(waits), 0.99)


def _knocking(connection: Connection, user: Person) -> Step:
    """Signs in; where it is told to come later, it does."""
    body = {"email": user.email, "password": PASSWORD}

    async def step() -> object:
        answer = await connection.ask("POST", f"{API}/auth/login", body=body)
        if answer.status in (429, 503):
            await asyncio.sleep(_COME_AGAIN)
            return answer
        return answer.value()

    return step


async def _refreshes(server: Server, run: Run) -> list[float]:
    """The server's CPU seconds per refresh, round by round. Each client goes on with the token that it got last."""
    async with AsyncExitStack() as stack:
        users = await people(server.port, _CLIENTS)
        steps = [_refreshing(await stack.enter_async_context(connect(server.port)), user) for user in users]
        await repeat(steps, 1)
        taken = []
        for _ in range(run.http_rounds):
            before = server.cpu()
            done = await repeat(steps, run.seconds)
            taken.append((server.cpu() - before) / done)
        return taken


def _refreshing(connection: Connection, user: Person) -> Step:
    token = user.refresh_token

    async def step() -> object:
        nonlocal token
        answer = await connection.ask("POST", f"{API}/auth/refresh", body={"refresh_token": token})
        token = answer.value()["refresh_token"]
        return token

    return step


async def _logins(server: Server, run: Run) -> tuple[list[float], list[float]]:
    """Logins per second, and argon2 verifications per second on the same cores, round by round."""
    logins, alone = [], []
    async with AsyncExitStack() as stack:
        users = await people(server.port, _CLIENTS)
        steps = [_signing_in(await stack.enter_async_context(connect(server.port)), user) for user in users]
        for _ in range(run.http_rounds):
            began = time.perf_counter()
            logins.append(await repeat(steps, run.seconds) / (time.perf_counter() - began))
            alone.append(await asyncio.to_thread(_argon2_alone, run.seconds))
    return logins, alone


def _signing_in(connection: Connection, user: Person) -> Step:
    body = {"email": user.email, "password": PASSWORD}

    async def step() -> object:
        return (await connection.ask("POST", f"{API}/auth/login", body=body)).value()

    return step


def _argon2_alone(seconds: float) -> float:
    """Verifications per second with our parameters, a thread for each core."""
    cost = Settings.model_validate({})
    hasher = PasswordHasher(time_cost=cost.argon2_time, memory_cost=cost.argon2_memory, parallelism=1)
    known = hasher.hash(PASSWORD)

    def verify() -> int:
        done, until = 0, time.perf_counter() + seconds
        while time.perf_counter() < until:
            hasher.verify(known, PASSWORD)
            done += 1
        return done

    began = time.perf_counter()
    with ThreadPoolExecutor(_CORES) as pool:
        done = sum(work.result() for work in [pool.submit(verify) for _ in range(_CORES)])
    return done / (time.perf_counter() - began)


MEASURE: Final = Measure(("refresh", "logins", "login-flood"), take)
