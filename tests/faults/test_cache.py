"""What the cache may do to nobody, on real servers: hot answers that end, news that is lost, processes that die before telling.

The servers run a project whose slow answer writes a line each time that it is worked out, so that nobody has to be believed.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import asyncpg
import pytest
from redis.asyncio import Redis
from tests.faults.harness.serving import Server
from tests.faults.harness.workers import each_worker

from fortress.testing.callers import Callers
from fortress.testing.client import Caller
from fortress.testing.live import LiveClient
from fortress.testing.plugin import ADMIN, ADMIN_PASSWORD
from fortress.testing.servers import REDIS, REDIS_URL, answers

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]

pytestmark = pytest.mark.faults

# So little of the life that an early refresh (XFetch) just after it is out of the question, even when a crowd makes it take longer.
ORIGIN_SECONDS: Final = 0.1
LIFE_SECONDS: Final = 5.0
CLIENTS: Final = 500
# What the guide promises: 0.8 s of the bus's certainty, and time to say it.
BOUND: Final = 1.0
TEA: Final = "TEA-GREEN"
LISTENERS: Final = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND (query = 'SELECT 1' OR query ILIKE 'LISTEN%')
"""
PROJECT: Final = f"""
import asyncio, os, time
from pathlib import Path
import msgspec
from fortress import Domain, Fortress
from fortress.cache import cached
from fortress.domains import standard
from fortress.http import PUBLIC, get, per_second
from shop.orders.manifest import orders
from shop.orders.models import Product

LOADS = Path(__file__).with_name("loads")


class Slow(msgspec.Struct, frozen=True):
    worked_out: float


class Origin:
    @cached(seconds={LIFE_SECONDS}, reads=[Product])
    async def answer(self) -> Slow:
        with LOADS.open("a") as lines:
            lines.write(f"{{os.getpid()}} {{time.monotonic()}}\\n")
        await asyncio.sleep({ORIGIN_SECONDS})
        return Slow(time.monotonic())


@get("/slow", allow=PUBLIC, limit=per_second(100))
async def slow(origin: Origin) -> Slow:
    return await origin.answer()


generous = lambda _route, limit: msgspec.structs.replace(limit, quota=10**9)
app = Fortress(title="Slow", version=2, domains=[*standard, orders, Domain(name="slow", services=[Origin], routes=[slow])], limit=generous)
"""


class Scene:
    """A server with two workers, a client that meets each of them, and a buyer."""

    def __init__(self, server: Server, directory: Path, owner: Connection, address: Callable[[], str]) -> None:
        self.server, self.owner = server, owner
        self.buyer = Caller("nobody yet")
        self._loads = directory / "loads"
        self._address = address

    def loads(self) -> list[tuple[int, float]]:
        """Who has worked the slow answer out, and when."""
        lines = self._loads.read_text().splitlines() if self._loads.exists() else []
        return [(int(pid), float(at)) for pid, at in (line.split() for line in lines)]

    def client(self, **options: Any) -> LiveClient:
        return LiveClient(self.server.port, address=self._address, base="/api/v2", **options)

    async def shown(self, workers: dict[int, LiveClient]) -> list[bool]:
        """Whether there is tea, says each worker's list."""
        pages = [(await worker.get("/products?limit=100", base="/api/v2")).json()["items"] for worker in workers.values()]
        return [product["in_stock"] for page in pages for product in page if product["sku"] == TEA]

    async def seconds_until(self, workers: dict[int, LiveClient], *, in_stock: bool) -> float:
        """How long after now every worker shows it."""
        began = time.monotonic()
        while await self.shown(workers) != [in_stock] * len(workers):
            assert time.monotonic() - began < 10
            await asyncio.sleep(0.01)
        return time.monotonic() - began

    async def buy(self, client: LiveClient) -> str:
        answer = await client.post("/orders", {"items": [{"sku": TEA, "quantity": 1}]}, as_=self.buyer)
        assert answer.status == 201, answer.body
        return str(answer.json()["id"])

    async def cancel(self, client: LiveClient, order: str) -> None:
        assert (await client.post(f"/orders/{order}/cancellation", as_=self.buyer)).status == 200


@pytest.fixture(scope="module", params=["alone", "redis"])
def running(request: pytest.FixtureRequest, serve: Callable[..., Server], tmp_path_factory: pytest.TempPathFactory) -> tuple[Server, Path]:
    """Two workers of that project, with Redis and without."""
    if request.param == "redis" and not answers(*REDIS):
        pytest.skip("no Redis answers")
    directory = tmp_path_factory.mktemp("slow")
    (directory / "slow_project.py").write_text(PROJECT)
    redis: dict[str, Any] = {"redis_url": REDIS_URL, "cache_timeout": 1, "limit_store": "postgres"} if request.param == "redis" else {}
    return serve(target="slow_project:app", directory=directory, **redis), directory


@pytest.fixture
async def scene(running: tuple[Server, Path], address: Callable[[], str]) -> AsyncIterator[Scene]:
    server, directory = running
    owner = await asyncpg.connect(server.database_url, timeout=10)
    scene = Scene(server, directory, owner, address)
    async with LiveClient(server.port, address=address) as client:
        scene.buyer = await Callers(client, ADMIN, ADMIN_PASSWORD).person()
    # One is left, which nobody has told; whatever was shown before, it was in stock.
    await owner.execute("UPDATE products SET stock = 1 WHERE sku = $1", TEA)
    yield scene
    await owner.close(timeout=10)


async def test_a_hot_answer_that_ends_is_worked_out_once_in_each_worker(scene: Scene) -> None:
    """500 clients, each on its own connection, ask in the moment after its end."""
    async with scene.client() as client:
        await asyncio.gather(*(client.get("/slow") for _ in range(CLIENTS)))
        before = scene.loads()
        await asyncio.sleep(max(0.0, max(at for _, at in before) + ORIGIN_SECONDS + LIFE_SECONDS - time.monotonic()))
        began = time.monotonic()
        replies = await asyncio.gather(*(client.get("/slow") for _ in range(CLIENTS)))
        lives = (time.monotonic() - began) / LIFE_SECONDS
    loads = Counter(pid for pid, _ in scene.loads()[len(before) :])
    assert {reply.status for reply in replies} == {200}
    assert set(loads) <= set(scene.server.workers)
    # Where the clients take so long to come that the next answer ends too, or is about to, there is one more for each.
    assert max(loads.values()) <= (1 if lives < 1 / 2 else 1 + math.ceil(lives)), loads
    assert len({reply.body for reply in replies}) <= loads.total()


async def test_what_somebody_buys_is_seen_on_every_worker_within_the_bound(scene: Scene, address: Callable[[], str]) -> None:
    async with each_worker(scene.server, address) as workers, scene.client() as client:
        for _ in range(3):
            assert await scene.shown(workers) == [True, True]
            order = await scene.buy(client)
            assert await scene.seconds_until(workers, in_stock=False) < BOUND
            await scene.cancel(client, order)
            assert await scene.seconds_until(workers, in_stock=True) < BOUND


async def test_news_that_nobody_hears_is_known_within_the_bound(scene: Scene, address: Callable[[], str]) -> None:
    """The listeners die with the change, at the worst moment: it is told while nobody listens, and not again."""
    async with each_worker(scene.server, address) as workers, scene.client() as client:
        for _ in range(3):
            assert await scene.shown(workers) == [True, True]
            order, killed = await asyncio.gather(scene.buy(client), scene.owner.fetch(LISTENERS))
            assert await scene.seconds_until(workers, in_stock=False) < BOUND
            assert len(killed) >= len(workers)
            await scene.cancel(client, order)
            assert await scene.seconds_until(workers, in_stock=True) < 2 * BOUND


async def test_what_no_process_lived_to_tell_is_seen_by_the_next_one(scene: Scene, address: Callable[[], str]) -> None:
    """All are killed; the change commits and its news is heard by nobody. What Redis keeps is in order, and stale."""
    async with each_worker(scene.server, address) as workers:
        assert await scene.shown(workers) == [True, True]
    scene.server.kill9()
    await scene.owner.execute("UPDATE products SET stock = 0 WHERE sku = $1", TEA)
    if "redis_url" in scene.server.settings:
        async with Redis.from_url(REDIS_URL) as redis:
            assert [key async for key in redis.scan_iter("fortress:cache:answer:*")]
    await asyncio.to_thread(scene.server.start)
    async with each_worker(scene.server, address) as workers:
        assert await scene.shown(workers) == [False, False]


async def test_the_operator_sees_what_the_cache_does(scene: Scene, address: Callable[[], str]) -> None:
    async with each_worker(scene.server, address) as workers:
        for _ in range(3):
            await scene.shown(workers)
        page = (await next(iter(workers.values())).get("/health/metrics", base="")).body.decode()
    assert 'fortress_cache_hits_total{cache="ProductRepository.on_sale"}' in page
    said = scene.server.run("doctor", "--json").stdout
    assert "ProductRepository.on_sale" in said
