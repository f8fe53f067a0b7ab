"""PostgreSQL killed under load and started again: errors only in the window, back in 5 s, nothing half done."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Iterator
from typing import Final

import asyncpg
import pytest
from tests.faults.harness.power import Power
from tests.faults.harness.serving import Server, Stable

from fortress.testing.callers import Callers
from fortress.testing.client import Caller, Reply
from fortress.testing.live import LiveClient
from fortress.testing.plugin import ADMIN, ADMIN_PASSWORD

pytestmark = pytest.mark.faults

BUYERS: Final = 8
PLENTY: Final = 100_000
BACK: Final = 5.0
# Slow enough to stay below the limit of orders a minute.
PAUSE: Final = 0.2
BASKET: Final = {"items": [{"sku": "TEA-GREEN", "quantity": 1}]}
PLACED: Final = """
SELECT (SELECT count(*) FROM orders) AS orders,
       (SELECT count(*) FROM events WHERE name = 'OrderPlaced') AS facts,
       (SELECT count(*) FROM audit_log WHERE action = 'orders.placed') AS audited,
       (SELECT $1 - stock FROM products WHERE sku = 'TEA-GREEN') AS sold"""


@pytest.fixture(scope="module")
def power(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Power]:
    switch = Power(tmp_path_factory.mktemp("power") / "postgres")
    yield switch
    switch.off()


@pytest.fixture(scope="module")
def server(power: Power, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Two workers on that PostgreSQL; it makes its tables itself."""
    stable = Stable()
    server = stable.add(Server(power.url, tmp_path_factory.mktemp("state")))
    server.start()
    asyncio.run(_fill_the_shelf(power.url))
    yield server
    stable.clear()


async def _fill_the_shelf(url: str) -> None:
    connection = await asyncpg.connect(url, timeout=10)
    await connection.execute("UPDATE products SET stock = $1 WHERE sku = 'TEA-GREEN'", PLENTY)
    await connection.close(timeout=10)


class Buyer:
    """Places orders one after the other, and remembers what each became."""

    def __init__(self, client: LiveClient, who: Caller) -> None:
        self._client = client
        self._who = who
        self.answers: list[tuple[float, Reply]] = []
        self.unanswered = 0

    def served_since(self, moment: float) -> bool:
        at, reply = self.answers[-1]
        return at > moment and reply.status == 201

    async def shop(self, until: asyncio.Event) -> None:
        while not until.is_set():
            try:
                reply = await self._client.post("/orders", BASKET, as_=self._who)
                self.answers.append((time.monotonic(), reply))
            except (ConnectionError, TimeoutError):
                self.unanswered += 1
            await asyncio.sleep(PAUSE)


@pytest.mark.parametrize("number", [signal.SIGQUIT, signal.SIGKILL])
async def test_a_database_that_dies_under_load_comes_back_with_nothing_half_done(
    number: signal.Signals, power: Power, server: Server, address: Callable[[], str]
) -> None:
    async with LiveClient(server.port, address=address, kept=False) as client:
        callers = Callers(client, ADMIN, ADMIN_PASSWORD)
        people = [Buyer(client, await callers.person(f"{number.name}-{turn}".lower())) for turn in range(BUYERS)]
        before = await placed(power.url)
        done = asyncio.Event()
        shopping = [asyncio.create_task(one.shop(done)) for one in people]
        await asyncio.sleep(1)
        cut = time.monotonic()
        await power.cut(number)
        await asyncio.sleep(1)
        await power.restore()
        back = time.monotonic()
        async with asyncio.timeout(3 * BACK):
            while not all(one.served_since(back) for one in people):  # noqa: ASYNC110 - eight lists, no event
                await asyncio.sleep(0.1)
        await asyncio.sleep(1)
        done.set()
        await asyncio.gather(*shopping)
    judged([answer for one in people for answer in one.answers], cut, back)
    assert sum(one.unanswered for one in people) == 0, "each request gets an answer"
    acknowledged = sum(reply.status == 201 for one in people for _, reply in one.answers)
    after = await placed(power.url)
    assert after["orders"] == after["facts"] == after["audited"] == after["sold"]
    # A commit whose answer was lost with the server counts as not acknowledged; none that was acknowledged is lost.
    assert 0 <= after["orders"] - before["orders"] - acknowledged <= BUYERS
    assert server.faults() == []


def judged(answers: list[tuple[float, Reply]], cut: float, back: float) -> None:
    """201 before the cut and from 5 s after the return; between them 503, as a problem that says when to come again."""
    assert {reply.status for _, reply in answers} == {201, 503}
    refused = [(at, reply) for at, reply in answers if reply.status == 503]
    assert cut < refused[0][0]
    assert max(at for at, _ in refused) < back + BACK
    for _, reply in refused:
        assert reply.headers["content-type"].startswith("application/problem+json")
        assert int(reply.headers["retry-after"]) >= 1
        assert reply.code.startswith("service.")


async def placed(url: str) -> dict[str, int]:
    """How many orders there are, by each trace that an order leaves."""
    connection = await asyncpg.connect(url, timeout=10)
    try:
        return dict(await connection.fetchrow(PLACED, PLENTY) or {})
    finally:
        await connection.close(timeout=10)
