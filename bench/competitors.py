"""Who takes part over HTTP: servers with the same rows behind them, and the same requests for each."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Final
from uuid import UUID

import msgspec

from bench import seed
from bench.environment import FASTIFY, OURS, PEERS, install_fastify, install_python_peers
from bench.fortress_server import fortress_server, new_database
from bench.http_load import HttpRequest
from bench.peers_tokens import token
from bench.people import API, fill, people
from bench.run import EXPECTED, Run
from bench.servers import Server

WORKLOADS: Final = ("read", "page", "order")
Headers = Callable[[int], Mapping[str, str]]


class Competitor(msgspec.Struct, frozen=True):
    """A running server and what it is asked, by workload."""

    server: Server
    requests: Mapping[str, Sequence[HttpRequest]]


class Field(msgspec.Struct, frozen=True):
    """Those that run, and why the others don't."""

    running: dict[str, Competitor]
    absent: dict[str, str]


@contextmanager
def field(run: Run) -> Iterator[Field]:
    """Every competitor that can be started here."""
    database = asyncio.run(seed.peers_database(run.database, "bench_peers"))
    environment = {"BENCH_DATABASE_URL": database, "BENCH_SECRET": secrets.token_hex(32), "PYTHONPATH": "."}
    running: dict[str, Competitor] = {}
    absent: dict[str, str] = {}
    with ExitStack() as stack:
        for name, start in _STARTS.items():
            run.say(f"starting {name}")
            try:
                running[name] = start(run, environment, stack)
            except EXPECTED as error:
                absent[name] = str(error)
        yield Field(running, absent)


@contextmanager
def ours(run: Run, name: str) -> Iterator[Competitor]:
    """Our server on a new database with the peers' rows in it."""
    database = new_database(run, f"bench_{name}")
    with fortress_server(run, name, database) as server:
        users = asyncio.run(people(server.port, seed.USERS))
        asyncio.run(fill(database, [user.id for user in users]))
        yield Competitor(server, requests_for(API, [user.id for user in users], lambda number: users[number].headers))


def _ours(run: Run, _environment: dict[str, str], stack: ExitStack) -> Competitor:
    return stack.enter_context(ours(run, "fortress"))


def _fastapi(run: Run, environment: dict[str, str], stack: ExitStack) -> Competitor:
    install_python_peers()
    options = ["--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning", "--port", "{port}"]
    command = [str(PEERS), "-m", "uvicorn", "bench.peers.fastapi_stack.app:app", *options]
    return _peer(run, "fastapi", command, environment, stack)


def _fastify(run: Run, environment: dict[str, str], stack: ExitStack) -> Competitor:
    install_fastify()
    return _peer(run, "fastify", ["node", str(FASTIFY / "server.js")], environment | {"NODE_ENV": "production"}, stack)


def _floor(run: Run, environment: dict[str, str], stack: ExitStack) -> Competitor:
    options = ["--interface", "asgi", "--loop", "uvloop", "--no-ws", "--port", "{port}"]
    return _peer(run, "floor", [str(OURS), "-m", "granian", *options, "bench.peers.floor.app:app"], environment, stack)


def _peer(run: Run, name: str, command: list[str], environment: dict[str, str], stack: ExitStack) -> Competitor:
    server = stack.enter_context(Server(name, command, log=run.log(name), environment=environment))
    users = seed.user_ids()
    heads = [{"Authorization": f"Bearer {token(environment['BENCH_SECRET'], user, seed.SCOPES)}", "X-User": str(user)} for user in users]
    return Competitor(server, requests_for("", users, heads.__getitem__))


def requests_for(prefix: str, users: Sequence[UUID], headers: Headers) -> dict[str, list[HttpRequest]]:
    """The three workloads: every fifth order by its buyer, each person's page, one of each product."""
    orders = seed.order_rows(list(users))
    reads = [HttpRequest("GET", f"{prefix}/orders/{orders[n][0]}", headers(n % len(users))) for n in range(0, len(orders), 7)]
    pages = [HttpRequest("GET", f"{prefix}/orders?limit=50", headers(n)) for n in range(len(users))]
    bodies = [json.dumps({"items": [{"sku": sku, "quantity": 1}]}) for sku in seed.skus()]
    placed = [HttpRequest("POST", f"{prefix}/orders", headers(n % len(users)), body) for n, body in enumerate(bodies)]
    return {"read": reads, "page": pages, "order": placed}


_STARTS: Final = {"fortress": _ours, "fastapi": _fastapi, "fastify": _fastify, "floor": _floor}
