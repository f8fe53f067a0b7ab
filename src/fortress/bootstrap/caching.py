"""Makes the process's cache, shows it in the metrics, and lets it hear of changes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from fortress.background import Background
from fortress.bootstrap.assembly import Assembly
from fortress.cache.caches import Caches, Declared, declared
from fortress.cache.envelope import Envelopes
from fortress.cache.memory import Memory
from fortress.cache.redis import RedisAnswers
from fortress.cache.remote import Shared
from fortress.cache.shelf import Shelf
from fortress.clock import Clock, Ids
from fortress.data import Database
from fortress.data.bus import Bus
from fortress.limits.redis import open_client
from fortress.security.keys import KeyRing
from fortress.settings import Settings
from fortress.telemetry.metrics import Metrics

_MEBIBYTE = 1 << 20


class Caching:
    """The cache of one process.

    Args:
        found: what the project keeps.
    """

    def __init__(self, found: Declared, memory: Memory, database: Database, metrics: Metrics) -> None:
        self.caches = Caches(found, memory)
        self._memory = memory
        self._database = database
        self._metrics = metrics
        # A command changes rows too, and tells of it, though it keeps no answers itself.
        database.tell(found.tables, self.caches.heard)

    def follow(self, bus: Bus) -> None:
        """Keep answers from now on; before the bus begins to listen."""
        if not self._memory.keeps:
            return
        for query, kept in self.caches.follow(bus).items():
            self._database.remembered[query] = kept
        for shelf in self.caches.shelves:
            _watch(shelf, self._metrics)
        self._metrics.watch("cache_bytes", "Bytes that kept answers take, by estimate.", lambda: self._memory.bytes)
        shared = self._memory.shared
        if shared is not None:
            self._metrics.tally("cache_redis_errors_total", "Times that Redis did not answer the cache.", lambda: shared.errors)


@asynccontextmanager
async def open_caching(
    assembly: Assembly,
    settings: Settings,
    database: Database,
    metrics: Metrics,
    *,
    ring: KeyRing,
    clock: Clock,
    ids: Ids,
    background: Background,
) -> AsyncIterator[Caching]:
    """The cache of this process, with Redis behind it when there is one. Raises CannotStart for what can't be kept."""
    found = declared(assembly.classes, [model for domain in assembly.domains for model in domain.models])
    memory = Memory(room=settings.cache_memory * _MEBIBYTE, patience=settings.request_timeout, clock=clock, background=background)
    url = settings.redis_url
    if url is None or not found.tables:
        yield Caching(found, memory, database, metrics)
        return
    answers = RedisAnswers(open_client(url.get_secret_value(), settings.cache_timeout), ids)
    envelopes = Envelopes(ring.secret("cache").material.reveal())
    memory.shared = Shared(answers, envelopes, settings.cache_timeout, clock, ids)
    telling = asyncio.create_task(memory.shared.keep_telling(), name="cache telling")
    try:
        yield Caching(found, memory, database, metrics)
    finally:
        telling.cancel()
        with suppress(asyncio.CancelledError):
            await telling
        await answers.close()


def _watch(shelf: Shelf, metrics: Metrics) -> None:
    labels = {"cache": shelf.plan.name}
    metrics.tally("cache_hits_total", "Answers given from this process's memory.", lambda: shelf.hits, labels)
    metrics.tally("cache_misses_total", "Answers that were not in this process's memory.", lambda: shelf.misses, labels)
    metrics.tally("cache_shared_hits_total", "Of these, answers that Redis had.", lambda: shelf.shared_hits, labels)
    metrics.tally("cache_loads_total", "Times that an answer was worked out.", lambda: shelf.loads, labels)
    metrics.tally("cache_stale_total", "Loads not kept, as what they read had changed meanwhile.", lambda: shelf.stale, labels)
    metrics.tally("cache_dropped_total", "Answers dropped because of a change.", lambda: shelf.dropped, labels)
    metrics.watch("cache_entries", "Answers in memory.", lambda: len(shelf), labels)
