"""The order in which wrapping keys are turned over, on a ring of its own and keys in memory."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from fortress.clock import FixedClock
from fortress.commands.rotation import Reindexed, Renewed, WrappingRotation, renew_data_keys, renew_index_keys
from fortress.errors import CannotStart
from fortress.security.keyfile import FileKeys
from fortress.security.keys import KeyRing, new_ring
from fortress.security.wrapping import RingWrapping, WrappedKey, Wrapping

HOLDING = 30.0
PEOPLE = 7


class Killed(BaseException):
    """As kill -9 ends a process: nothing after it runs."""


class Step(msgspec.Struct, frozen=True):
    done: int
    total: int


class KeptKeys:
    """Wrapped keys by their context, as the database keeps them.

    Attributes:
        kill_after: ends the process after so many keys when set.
    """

    def __init__(self, wrapping: Wrapping) -> None:
        self.wrapping = wrapping
        self.rows: dict[bytes, WrappedKey] = {}
        self.kill_after: int | None = None

    async def add(self, context: bytes) -> None:
        self.rows[context] = await self.wrapping.wrap(context, context)

    async def readable(self) -> bool:
        return all([await self.wrapping.unwrap(row, context) == context for context, row in self.rows.items()])

    async def uses(self) -> Mapping[str, int]:
        return Counter(row.key_id for row in self.rows.values())

    async def rewrap(self) -> AsyncIterator[Step]:
        behind = [context for context, row in self.rows.items() if row.key_id != self.wrapping.current]
        for done, context in enumerate(behind, start=1):
            if self.kill_after is not None and done > self.kill_after:
                raise Killed
            self.rows[context] = await self.wrapping.wrap(await self.wrapping.unwrap(self.rows[context], context), context)
            yield Step(done, len(behind))


class Waits:
    """Moves the clock instead of waiting, and lets others work meanwhile."""

    def __init__(self, clock: FixedClock) -> None:
        self._clock = clock
        self.waited: list[float] = []
        self.meanwhile: Callable[[], None] = lambda: None

    async def __call__(self, seconds: float) -> None:
        self.waited.append(seconds)
        self._clock.advance(timedelta(seconds=seconds))
        self.meanwhile()
        await asyncio.sleep(0)


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(datetime(2026, 3, 1, 12, tzinfo=UTC))


@pytest.fixture
def ring(tmp_path: Path, clock: FixedClock) -> KeyRing:
    keys = FileKeys(tmp_path / "keyring.json")
    keys.ensure(lambda: new_ring(clock.now()))
    return KeyRing(keys, clock)


@pytest.fixture
async def kept(ring: KeyRing) -> KeptKeys:
    kept = KeptKeys(RingWrapping(ring))
    for number in range(PEOPLE):
        await kept.add(b"person %d" % number)
    return kept


@pytest.fixture
def waits(clock: FixedClock) -> Waits:
    return Waits(clock)


@pytest.fixture
def rotation(ring: KeyRing, kept: KeptKeys, clock: FixedClock, waits: Waits) -> WrappingRotation:
    return WrappingRotation(ring, RingWrapping(ring), kept, clock, holding=HOLDING, wait=waits)


async def test_everything_is_wrapped_by_a_new_key_and_the_old_one_stays(rotation: WrappingRotation, kept: KeptKeys, ring: KeyRing) -> None:
    old = ring.wrapping_keys()[0].id
    done = await rotation.run(destroy_old=False)
    assert done.key == RingWrapping(ring).current != f"ring:{old}"
    assert (done.rewrapped, done.resumed, done.destroyed, done.unused) == (PEOPLE, False, (), (old,))
    assert await kept.uses() == {done.key: PEOPLE}
    assert await kept.readable()


async def test_old_keys_are_destroyed_once_no_server_can_hold_what_they_wrapped(
    rotation: WrappingRotation, kept: KeptKeys, ring: KeyRing, waits: Waits
) -> None:
    old = ring.wrapping_keys()[0].id
    done = await rotation.run(destroy_old=True)
    assert done.destroyed == (old,)
    assert done.unused == ()
    assert len(waits.waited) == 1
    assert waits.waited[0] >= HOLDING + 5
    assert [record.id for record in ring.wrapping_keys()] == [done.key.removeprefix("ring:")]
    assert await kept.readable()


async def test_what_a_server_wraps_late_is_wrapped_anew_before_the_key_goes(
    rotation: WrappingRotation, kept: KeptKeys, ring: KeyRing, clock: FixedClock, tmp_path: Path, waits: Waits
) -> None:
    old = ring.wrapping_keys()[0]
    slow_server = RingWrapping(KeyRing(FileKeys(tmp_path / "keyring.json"), clock))
    late = await slow_server.wrap(b"late", b"late")
    assert late.key_id == f"ring:{old.id}"
    waits.meanwhile = lambda: kept.rows.update({b"late": late})
    done = await rotation.run(destroy_old=True)
    assert done.rewrapped == PEOPLE + 1
    assert done.destroyed == (old.id,)
    assert await kept.readable()


async def test_what_stays_under_an_old_key_keeps_it_from_being_destroyed(
    rotation: WrappingRotation, kept: KeptKeys, ring: KeyRing, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing(self: KeptKeys) -> AsyncIterator[Step]:
        for step in list[Step]():
            yield step

    monkeypatch.setattr(KeptKeys, "rewrap", nothing)
    with pytest.raises(CannotStart, match="none was destroyed"):
        await rotation.run(destroy_old=True)
    assert len(ring.wrapping_keys()) == 2
    assert await kept.readable()


@pytest.mark.parametrize("after", range(PEOPLE))
async def test_killed_at_any_key_the_same_command_finishes_it_and_makes_no_second_key(
    rotation: WrappingRotation, kept: KeptKeys, ring: KeyRing, after: int
) -> None:
    kept.kill_after = after
    with pytest.raises(Killed):
        await rotation.run(destroy_old=True)
    assert await kept.readable()
    assert len(ring.wrapping_keys()) == 2
    kept.kill_after = None
    done = await rotation.run(destroy_old=True)
    assert (done.resumed, done.rewrapped) == (True, PEOPLE - after)
    assert len(ring.wrapping_keys()) == 1
    assert await kept.readable()


async def test_killed_before_the_old_key_was_destroyed_the_same_command_destroys_it(
    rotation: WrappingRotation, kept: KeptKeys, ring: KeyRing, waits: Waits
) -> None:
    def kill() -> None:
        raise Killed

    waits.meanwhile = kill
    with pytest.raises(Killed):
        await rotation.run(destroy_old=True)
    waits.meanwhile = lambda: None
    key = RingWrapping(ring).current
    done = await rotation.run(destroy_old=True)
    assert (done.key, done.resumed, len(done.destroyed)) == (key, True, 1)
    assert await kept.readable()


async def test_a_finished_rotation_is_followed_by_a_new_one(rotation: WrappingRotation, ring: KeyRing) -> None:
    keys = [(await rotation.run(destroy_old=False)).key for _ in range(3)]
    assert len(set(keys)) == 3
    assert len(ring.wrapping_keys()) == 4
    assert len((await rotation.run(destroy_old=True)).destroyed) == 3


async def test_stragglers_of_an_old_rotation_are_no_reason_not_to_make_a_new_key(
    rotation: WrappingRotation, kept: KeptKeys, ring: KeyRing, clock: FixedClock
) -> None:
    old = await kept.wrapping.wrap(b"straggler", b"straggler")
    await rotation.run(destroy_old=False)
    kept.rows[b"straggler"] = old
    clock.advance(timedelta(days=2))
    done = await rotation.run(destroy_old=False)
    assert (done.resumed, done.rewrapped) == (False, PEOPLE + 1)
    assert len(ring.wrapping_keys()) == 3


async def test_a_prepared_key_is_the_one_that_wraps(rotation: WrappingRotation, ring: KeyRing) -> None:
    prepared = ring.prepare_wrapping()
    assert (await rotation.run(destroy_old=False)).key == f"ring:{prepared}"


class Service:
    """A key service that has taken the ring's place."""

    def __init__(self, ring: RingWrapping) -> None:
        self._ring = ring

    current = "vault:transit/fortress:v1"

    async def wrap(self, key: bytes, context: bytes) -> WrappedKey:
        return WrappedKey(self.current, key[::-1])

    async def unwrap(self, wrapped: WrappedKey, context: bytes) -> bytes:
        return wrapped.blob[::-1] if wrapped.key_id == self.current else await self._ring.unwrap(wrapped, context)


async def test_from_the_ring_to_a_service_everything_moves_and_the_rings_keys_can_go(
    ring: KeyRing, kept: KeptKeys, clock: FixedClock, waits: Waits
) -> None:
    kept.wrapping = Service(RingWrapping(ring))
    rotation = WrappingRotation(ring, kept.wrapping, kept, clock, holding=HOLDING, wait=waits)
    before = ring.wrapping_keys()[0].id
    assert (await rotation.run(destroy_old=False)).rewrapped == PEOPLE
    assert [record.id for record in ring.wrapping_keys()] == [before], "a key that does not wrap is not turned over"
    done = await rotation.run(destroy_old=True)
    assert done.destroyed == (before,)
    assert await kept.readable()


class Log:
    """What was asked of keys, in its order; `stop` kills the process at that step.

    Attributes:
        since: of a renewal that was not finished.
        announced: whether there are indexes whose rows are not being indexed yet.
    """

    def __init__(self, stop: str = "") -> None:
        self.asked: list[str] = []
        self.stop = stop
        self.since: datetime | None = None
        self.announced = True
        self.before: datetime | None = None

    def note(self, what: str) -> None:
        self.asked.append(what)
        if what == self.stop:
            raise Killed

    async def wait(self, seconds: float) -> None:
        self.note(f"wait {seconds:.0f}")

    async def steps(self, what: str) -> AsyncIterator[Step]:
        self.note(what)
        yield Step(PEOPLE, PEOPLE)


class DataKeys(Log):
    async def begun(self) -> datetime | None:
        return self.since

    def make(self, before: datetime) -> AsyncIterator[Step]:
        self.before = before
        return self.steps("make")

    def reseal(self) -> AsyncIterator[Step]:
        return self.steps("reseal")

    def drop(self) -> AsyncIterator[Step]:
        return self.steps("drop")


class IndexKeys(Log):
    async def announce(self) -> bool:
        self.note("announce")
        return self.announced

    async def activate(self) -> bool:
        self.note("activate")
        return True

    def reindex(self) -> AsyncIterator[Step]:
        return self.steps("reindex")

    async def drop(self) -> int:
        self.note("drop")
        return 2


async def test_data_keys_are_destroyed_only_after_everybody_has_stopped_writing_by_them(clock: FixedClock) -> None:
    keys = DataKeys()
    done = await renew_data_keys(keys, clock, holding=HOLDING, wait=keys.wait)
    assert keys.asked == ["make", "reseal", "wait 33", "reseal", "drop"]
    assert done == Renewed(resumed=False, people=PEOPLE, rows=PEOPLE)
    assert keys.before == clock.now()


async def test_a_renewal_of_data_keys_that_was_killed_counts_from_its_beginning(clock: FixedClock) -> None:
    keys = DataKeys()
    keys.since = clock.now() - timedelta(hours=3)
    assert (await renew_data_keys(keys, clock, holding=HOLDING, wait=keys.wait)).resumed
    assert keys.before == keys.since


@pytest.mark.parametrize("stop", ["make", "reseal", "wait 33"])
async def test_nothing_is_destroyed_before_its_turn(clock: FixedClock, stop: str) -> None:
    keys = DataKeys(stop)
    with pytest.raises(Killed):
        await renew_data_keys(keys, clock, holding=HOLDING, wait=keys.wait)
    assert "drop" not in keys.asked


async def test_index_keys_are_known_before_they_are_used_and_used_before_rows_are_indexed() -> None:
    keys = IndexKeys()
    done = await renew_index_keys(keys, holding=HOLDING, wait=keys.wait)
    assert keys.asked == ["announce", "wait 33", "activate", "wait 33", "reindex", "drop"]
    assert done == Reindexed(resumed=False, indexes=2, rows=PEOPLE)


async def test_index_keys_that_are_in_use_already_are_not_announced_again() -> None:
    keys = IndexKeys()
    keys.announced = False
    assert (await renew_index_keys(keys, holding=HOLDING, wait=keys.wait)).resumed
    assert keys.asked == ["announce", "wait 33", "reindex", "drop"]


@pytest.mark.parametrize("stop", ["announce", "wait 33", "activate", "reindex"])
async def test_no_index_key_is_forgotten_before_its_turn(stop: str) -> None:
    keys = IndexKeys(stop)
    with pytest.raises(Killed):
        await renew_index_keys(keys, holding=HOLDING, wait=keys.wait)
    assert "drop" not in keys.asked
