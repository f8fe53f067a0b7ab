"""Upkeep: again and again, one server at a time, whatever becomes of a single run."""

from __future__ import annotations

import asyncio

import asyncpg

from fortress.bootstrap.upkeep import Task, Upkeeper


def keeper(url: str, *tasks: Task) -> Upkeeper:
    return Upkeeper(lambda: asyncpg.connect(url), tasks)


async def test_a_task_runs_again_and_again_even_when_it_fails(database_url: str) -> None:
    runs = 0
    enough = asyncio.Event()

    async def run() -> None:
        nonlocal runs
        runs += 1
        if runs == 3:
            enough.set()
        raise RuntimeError("this time")

    upkeeper = keeper(database_url, Task("often", 0.01, run))
    upkeeper.start()
    async with asyncio.timeout(10):
        await enough.wait()
    await upkeeper.stop()


async def test_two_servers_never_do_the_same_at_once(database_url: str) -> None:
    inside = 0
    most = 0
    turns = 0
    enough = asyncio.Event()

    async def run() -> None:
        nonlocal inside, most, turns
        inside, turns = inside + 1, turns + 1
        most = max(most, inside)
        await asyncio.sleep(0)
        inside -= 1
        if turns >= 20:
            enough.set()

    servers = [keeper(database_url, Task("once", 0.001, run)) for _ in range(3)]
    for server in servers:
        server.start()
    async with asyncio.timeout(20):
        await enough.wait()
    for server in servers:
        await server.stop()
    assert most == 1


async def test_a_task_that_comes_round_faster_than_it_runs_does_not_hold_up_others(database_url: str) -> None:
    ran = asyncio.Event()

    async def slow() -> None:
        await asyncio.Event().wait()

    async def quick() -> None:
        ran.set()

    upkeeper = keeper(database_url, Task("slow", 0.001, slow), Task("quick", 0.001, quick))
    upkeeper.start()
    async with asyncio.timeout(10):
        await ran.wait()
    await upkeeper.stop()
