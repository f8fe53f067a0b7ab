"""How often a caller may: leases from the store, spent in this process.

Never more than the limit on any number of workers, and almost no round trips: see gcra.py for why both hold.
"""

from __future__ import annotations

import asyncio
import random
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from hashlib import blake2b
from typing import Any, Final, TypeVar

from fortress.breaker import Breaker
from fortress.clock import Clock
from fortress.errors import Unavailable
from fortress.limits.gcra import MICROSECONDS, Rate
from fortress.limits.keys import limit_key
from fortress.limits.lease import Lease
from fortress.limits.memory import MAX_KEYS, MemoryStore
from fortress.limits.observer import Observer, Silent
from fortress.limits.plan import Plan
from fortress.limits.policy import Limit
from fortress.limits.store import LimitStore, StoreFull, Taken
from fortress.limits.verdict import Verdict, refused

__all__ = ["Limiter", "Observer", "Verdict", "limit_key"]

MAX_LEASES: Final = 10_000
MAX_PLANS: Final = 1000
KEY_BYTES: Final = 16
# A refusal is repeated for so long without asking: a flood costs the store a call a second for each key, and a quota that an
# operator gives back counts at once.
REFUSAL_SECONDS: Final = 1.0
# A token that is given back waits so long for the next charge of its key to take it along.
RETURN_SECONDS: Final = 0.5

T = TypeVar("T")
LeaseKey = tuple[Limit, str]
Waiting = list[asyncio.Future[Verdict]]


class StoreSlow(Exception):
    """The store did not answer within the timeout."""


class Limiter:
    """Decides for each request whether its caller may.

    Args:
        store: where tokens are counted.
        clock: only its `monotonic`; the counting itself is on the store's clock.
        timeout: seconds that the store may take; after that the local share decides.
        workers: processes that share the store, over all machines: leases and local shares are divided by it.
        pepper: keeps addresses and ids from being guessed from the store's keys; the same on every worker (≤ 64 bytes).
        observer: counts for metrics.
        max_leases: keys with tokens in hand; the least recently leased is dropped, and its tokens are lost.
        max_local: keys that the local share counts while the store is away; beyond them new callers get 503.
        dice: a number from 0 to 1; spreads retries.
    """

    def __init__(
        self,
        store: LimitStore,
        clock: Clock,
        timeout: float,
        workers: int,
        *,
        pepper: bytes = b"",
        observer: Observer | None = None,
        max_leases: int = MAX_LEASES,
        max_local: int = MAX_KEYS,
        dice: Callable[[], float] = random.random,
    ) -> None:
        self._store = store
        self._monotonic = clock.monotonic
        self._timeout = timeout
        self._workers = workers
        self._pepper = pepper
        self._observer: Observer = observer or Silent()
        self._max_leases = max_leases
        self._dice = dice
        self._local = MemoryStore(clock, max_local)
        self._breaker = Breaker()
        self._plans: dict[Limit, Plan] = {}
        self._leases: OrderedDict[LeaseKey, Lease] = OrderedDict()
        self._waiting: dict[LeaseKey, Waiting] = {}
        self._returning: dict[LeaseKey, int] = {}
        self._returner: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[Any]] = set()

    def spend(self, limit: Limit, key: str) -> Verdict | None:
        """The verdict, when it is known without asking the store; else None, and `charge` has it."""
        lease = self._leases.get((limit, key))
        if lease is None:
            return None
        now = self._monotonic()
        return lease.spend(now) if now < lease.until else None

    async def charge(self, limit: Limit, key: str) -> Verdict:
        """The verdict, with a round trip to the store when there is no other way. Callers of one key share one.

        Raises:
            Unavailable: the store has no room for a new key, or is away and there is no room here either.
        """
        known = self.spend(limit, key)
        if known is not None:
            return known
        place = (limit, key)
        future: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
        waiting = self._waiting.get(place)
        if waiting is not None:
            waiting.append(future)
        elif self._breaker.paused(self._monotonic()):
            return self._alone(limit, key)
        else:
            self._waiting[place] = [future]
            self._start(self._serve(place))
        return await future

    def give_back(self, limit: Limit, key: str) -> None:
        """Undo a charge of a strict limit that turned out not to count; within a minute of it, and lost if the store is away.

        The token goes back with the next charge of this key, or by itself within RETURN_SECONDS: nobody waits for it.

        Raises:
            ValueError: the limit is not strict, so its tokens are leased.
        """
        if not limit.strict:
            raise ValueError("only the tokens of a strict limit are given back")
        plan, name, place = self._plan(limit), self._name(limit, key), (limit, key)
        if self._local.owed(name, plan.local):
            self._local.take_now(name, plan.returning_locally, 0, 0, returned=1)
        elif len(self._returning) < self._max_leases:
            self._returning[place] = self._returning.get(place, 0) + 1
            if self._returner is None:
                self._returner = self._start(self._return_soon())
        # A refusal that is still remembered here may not hold any more.
        self._leases.pop(place, None)

    async def close(self) -> None:
        """Stop what is under way."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, place: LeaseKey) -> None:
        """Ask for all who wait, until nobody does. A task of its own: a client that leaves can't cancel the others' call."""
        batch: Waiting = []
        try:
            while batch := self._next_batch(place):
                try:
                    lease = await self._ask(place, len(batch))
                except Exception as error:
                    _fail(batch, error)
                else:
                    self._deliver(lease, batch)
        finally:
            _fail(batch + self._waiting.pop(place), Unavailable())

    def _next_batch(self, place: LeaseKey) -> Waiting:
        """Those who still wait once the tokens in hand are given out."""
        waiting = [future for future in self._waiting[place] if not future.done()]
        self._waiting[place] = []
        for index, future in enumerate(waiting):
            verdict = self.spend(*place)
            if verdict is None:
                return waiting[index:]
            future.set_result(verdict)
        return []

    def _deliver(self, lease: Lease, batch: Waiting) -> None:
        now = self._monotonic()
        for future in batch:
            verdict = None if future.done() else lease.spend(now)
            if verdict is not None:
                future.set_result(verdict)
        # The tokens of those who have left are lost: more than a lease may not be in hand.
        lease.left = min(lease.left, lease.size - 1)

    async def _ask(self, place: LeaseKey, needed: int) -> Lease:
        """A token or a refusal for each of `needed`, and perhaps tokens in hand: from the store, or from the local share.

        Raises:
            Unavailable: as `charge`.
        """
        limit, key = place
        plan, name = self._plan(limit), self._name(limit, key)
        sent = self._monotonic()
        if not self._breaker.admits(sent):
            return self._locally(limit, name, needed)
        size, returned = self._next_size(place, plan, sent)
        rate = plan.rate
        if place in self._returning:
            rate, returned = plan.returning, self._returning.pop(place)
        # What was allowed here while the store was away is still to be paid.
        owed = self._local.owed(name, plan.local)
        try:
            answer = await self._bounded(self._store.take(name, rate, needed + size - 1 + owed, returned=returned))
        except StoreFull:
            raise Unavailable from None
        except Exception as error:
            # Whatever a driver may raise: the store is away.
            self._breaker.failed(self._monotonic())
            self._observer.on_store_error(error)
            return self._locally(limit, name, needed)
        now = self._monotonic()
        self._breaker.succeeded()
        self._observer.on_round_trip(now - sent)
        self._local.forget(name)
        lease = self._lease(plan, plan.rate, answer, answer.granted - owed, needed, now)
        lease.size, lease.ends = size, sent + plan.lease_seconds
        # A call that was sent in time has to arrive in time.
        lease.lost_at = sent + plan.life - 2 * self._timeout
        if lease.refusal is None:
            lease.until = lease.ends
        self._keep(place, lease, now)
        return lease

    async def _return_soon(self) -> None:
        """Return what no charge has taken along, one after another, for as long as the store answers."""
        try:
            await asyncio.sleep(RETURN_SECONDS)
            while self._returning and self._breaker.admits(self._monotonic()):
                place = next(iter(self._returning))
                await self._return(place, self._returning.pop(place))
        finally:
            self._returning.clear()
            self._returner = None

    async def _return(self, place: LeaseKey, tokens: int) -> None:
        try:
            await self._bounded(self._store.take(self._name(*place), self._plan(place[0]).returning, 0, 0, returned=tokens))
        except Exception as error:
            # Whatever a driver may raise: the store is away, and the token comes back by itself later.
            self._breaker.failed(self._monotonic())
            self._observer.on_store_error(error)
        else:
            self._breaker.succeeded()
        self._leases.pop(place, None)

    def _next_size(self, place: LeaseKey, plan: Plan, now: float) -> tuple[int, int]:
        """Tokens to lease, and tokens to give back of the lease that has ended: once, whatever becomes of the call."""
        before = self._leases.get(place)
        if before is None:
            return 1, 0
        size, unspent = plan.next_size(before, now), before.left
        before.left = 0
        return size, unspent if now < before.lost_at else 0

    async def _bounded(self, call: Coroutine[Any, Any, Taken]) -> Taken:
        """The call's result within the timeout.

        It is not awaited while it is being cancelled: a driver may take its time over that, and a request has none.
        """
        task = self._start(call)
        try:
            due = self._monotonic() + self._timeout
            await asyncio.wait((task,), timeout=self._timeout)
            if not task.done() and self._monotonic() - due > self._timeout / 2:
                # This process was late itself, so nothing is known of the store: its answer may be waiting to be read.
                await asyncio.wait((task,), timeout=self._timeout)
            if not task.done():
                raise StoreSlow(f"no answer in {self._timeout:g} s")
            return task.result()
        finally:
            task.cancel()

    def _alone(self, limit: Limit, key: str) -> Verdict:
        lease = self._locally(limit, self._name(limit, key), 1)
        verdict = lease.spend(self._monotonic())
        assert verdict is not None
        return verdict

    def _locally(self, limit: Limit, name: bytes, needed: int) -> Lease:
        """Tokens and refusals from this worker's own share."""
        plan = self._plan(limit)
        try:
            answer = self._local.take_now(name, plan.local, needed)
        except StoreFull:
            raise Unavailable from None
        for _ in range(needed):
            self._observer.on_fallback(limit)
        return self._lease(plan, plan.local, answer, answer.granted, needed, self._monotonic())

    def _lease(self, plan: Plan, rate: Rate, answer: Taken, granted: int, needed: int, now: float) -> Lease:
        """What an answer means to those who wait. It has ended already, unless somebody says otherwise."""
        lease = Lease(plan.header, now)
        lease.left = max(0, granted)
        lease.base = answer.remaining
        lease.full_at = now + answer.reset_after
        if granted < needed:
            # Something was granted, or is owed: then the bucket is empty now, and the next token comes with the next emission.
            retry_after = answer.retry_after or rate.emission / MICROSECONDS
            lease.refusal = refused(plan.header, answer.reset_after, retry_after, self._dice())
            lease.until = now + min(REFUSAL_SECONDS, retry_after)
        return lease

    def _keep(self, place: LeaseKey, lease: Lease, now: float) -> None:
        self._leases.pop(place, None)
        if now < lease.until:
            self._leases[place] = lease
            if len(self._leases) > self._max_leases:
                self._leases.popitem(last=False)

    def _plan(self, limit: Limit) -> Plan:
        plan = self._plans.get(limit)
        if plan is None:
            if len(self._plans) >= MAX_PLANS:
                self._plans.clear()
            plan = self._plans[limit] = Plan(limit, self._workers)
        return plan

    def _name(self, limit: Limit, key: str) -> bytes:
        """The key in the store: of one length, telling nothing, and another one when the limit changes."""
        text = f"{limit.quota}/{limit.window}/{limit.strict:d} {key}".encode(errors="surrogatepass")
        return blake2b(text, digest_size=KEY_BYTES, key=self._pepper).digest()

    def _start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            # Asked for, so that an abandoned call's failure is not reported as never retrieved; whoever waits has it too.
            task.exception()


def _fail(waiting: Waiting, error: Exception) -> None:
    for future in waiting:
        if not future.done():
            future.set_exception(error)
