from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from fortress.security.callers import CallerCache
from fortress.security.permissions import Method
from fortress.security.principal import NOBODY, Principal

ALICE, BOB = UUID(int=1), UUID(int=2)
PHONE, LAPTOP = UUID(int=11), UUID(int=12)


def caller(user: UUID = ALICE, session: UUID | None = PHONE) -> Principal:
    return Principal(user, Method.SESSION, session=session)


@pytest.fixture
def cache() -> CallerCache:
    return CallerCache(3)


def test_a_remembered_caller_is_known_until_the_token_ends(cache: CallerCache) -> None:
    known = caller()
    assert cache.put("a", known, 100.0, cache.stamp())
    assert cache.get("a", 99.9) is known
    assert cache.get("a", 100.0) is None
    assert len(cache) == 0
    assert cache.get("b", 0.0) is None


def test_the_least_recently_used_leaves_first(cache: CallerCache) -> None:
    for token in "abc":
        cache.put(token, caller(), 100.0, cache.stamp())
    cache.get("a", 0.0)
    cache.put("d", caller(), 100.0, cache.stamp())
    assert [token for token in "abcd" if cache.get(token, 0.0)] == ["a", "c", "d"]


def test_putting_a_token_again_takes_no_more_room(cache: CallerCache) -> None:
    for token in "abca":
        cache.put(token, caller(), 100.0, cache.stamp())
    assert len(cache) == 3
    cache.put("a", caller(BOB, LAPTOP), 100.0, cache.stamp())
    cache.evict_user(ALICE)
    assert [token for token in "abc" if cache.get(token, 0.0)] == ["a"]


def test_a_session_is_evicted_with_all_its_tokens_and_no_other(cache: CallerCache) -> None:
    cache.put("a", caller(session=PHONE), 100.0, cache.stamp())
    cache.put("b", caller(session=PHONE), 100.0, cache.stamp())
    cache.put("c", caller(session=LAPTOP), 100.0, cache.stamp())
    assert cache.evict_session(PHONE) == 2
    assert cache.evict_session(PHONE) == 0
    assert [token for token in "abc" if cache.get(token, 0.0)] == ["c"]


def test_a_user_is_evicted_whatever_they_came_with(cache: CallerCache) -> None:
    cache.put("a", caller(ALICE, PHONE), 100.0, cache.stamp())
    cache.put("b", caller(ALICE, LAPTOP), 100.0, cache.stamp())
    cache.put("c", caller(BOB, UUID(int=13)), 100.0, cache.stamp())
    assert cache.evict_user(ALICE) == 2
    assert [token for token in "abc" if cache.get(token, 0.0)] == ["c"]


def test_clearing_forgets_everyone(cache: CallerCache) -> None:
    cache.put("a", caller(), 100.0, cache.stamp())
    assert cache.clear() == 1
    assert cache.get("a", 0.0) is None


@pytest.mark.parametrize("evict", [lambda c: c.evict_session(PHONE), lambda c: c.evict_user(ALICE), lambda c: c.clear()])
def test_a_load_that_began_before_an_eviction_is_not_stored_after_it(cache: CallerCache, evict: object) -> None:
    """The race: the load read the row before the commit that revoked it, and comes back after the eviction."""
    assert callable(evict)
    stamp = cache.stamp()
    evict(cache)
    assert not cache.put("a", caller(), 100.0, stamp)
    assert cache.get("a", 0.0) is None
    assert cache.put("a", caller(), 100.0, cache.stamp())


def test_somebody_else_s_eviction_does_not_stop_a_load(cache: CallerCache) -> None:
    stamp = cache.stamp()
    cache.evict_user(BOB)
    cache.evict_session(LAPTOP)
    assert cache.put("a", caller(), 100.0, stamp)


def test_a_load_older_than_the_remembered_evictions_is_not_stored() -> None:
    cache = CallerCache(10, remembered=2)
    stamp = cache.stamp()
    cache.evict_user(ALICE)
    for other in (20, 21):
        cache.evict_user(UUID(int=other))
    assert not cache.put("a", caller(), 100.0, stamp)
    assert not cache.put("b", caller(BOB, LAPTOP), 100.0, stamp)
    assert cache.put("a", caller(), 100.0, cache.stamp())


def test_an_eviction_again_is_remembered_as_the_newer_one() -> None:
    cache = CallerCache(10, remembered=2)
    cache.evict_user(ALICE)
    cache.evict_user(BOB)
    stamp = cache.stamp()
    cache.evict_user(ALICE)
    cache.evict_user(UUID(int=20))
    assert not cache.put("a", caller(), 100.0, stamp)
    assert cache.put("b", caller(UUID(int=30), LAPTOP), 100.0, stamp)


def test_nobody_and_a_service_without_a_session_can_be_held(cache: CallerCache) -> None:
    assert cache.put("a", caller(NOBODY, None), 100.0, cache.stamp())
    assert cache.put("b", caller(ALICE, ALICE), 100.0, cache.stamp())
    assert cache.evict_session(ALICE) == 1
    assert len(cache) == 1


def test_no_repr_shows_a_token(cache: CallerCache) -> None:
    cache.put("secret-token", caller(), 100.0, cache.stamp())
    assert "secret-token" not in repr(cache)


@pytest.mark.parametrize(("capacity", "remembered"), [(0, 1), (1, 0)])
def test_a_cache_without_room_is_refused(capacity: int, remembered: int) -> None:
    with pytest.raises(ValueError, match="room"):
        CallerCache(capacity, remembered)


class AgainstAModel(RuleBasedStateMachine):
    """Loads, evictions and time in any order: a caller evicted since their load began is never answered."""

    def __init__(self) -> None:
        super().__init__()
        self.cache = CallerCache(4, remembered=3)
        self.loads: list[tuple[str, Principal, int, int]] = []
        self.evicted: dict[UUID, int] = {}
        self.stored: dict[str, tuple[Principal, int]] = {}
        self.moment = 0

    @rule(token=st.sampled_from("abcdef"), user=st.sampled_from([ALICE, BOB]), session=st.sampled_from([PHONE, LAPTOP, None]))
    def begin(self, token: str, user: UUID, session: UUID | None) -> None:
        self.loads.append((token, caller(user, session), self.cache.stamp(), self.moment))

    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        if self.loads:
            token, principal, stamp, began = self.loads.pop(data.draw(st.integers(0, len(self.loads) - 1)))
            if self.cache.put(token, principal, 100.0, stamp):
                self.stored[token] = (principal, began)

    @rule(subject=st.sampled_from([ALICE, BOB, PHONE, LAPTOP, UUID(int=99), UUID(int=98), UUID(int=97)]))
    def evict(self, subject: UUID) -> None:
        self.moment += 1
        self.evicted[subject] = self.moment
        self.cache.evict_session(subject)

    @rule()
    def clear(self) -> None:
        self.moment += 1
        self.evicted |= dict.fromkeys((ALICE, BOB), self.moment)
        self.cache.clear()

    @rule(token=st.sampled_from("abcdef"), late=st.booleans())
    def look(self, token: str, late: bool) -> None:
        self.cache.get(token, 100.0 if late else 0.0)

    @invariant()
    def nobody_evicted_is_answered(self) -> None:
        for token in "abcdef":
            entry = self.cache._entries.get(token)
            if entry:
                principal, began = self.stored[token]
                assert entry[0] is principal
                assert all(self.evicted.get(subject, 0) <= began for subject in (principal.id, principal.session) if subject)

    @invariant()
    def everything_is_bounded_and_the_index_is_exact(self) -> None:
        assert len(self.cache) <= 4
        assert len(self.cache._evicted) <= 3
        expected: dict[UUID, set[str]] = {}
        for token, (principal, _) in self.cache._entries.items():
            for subject in filter(None, (principal.id, principal.session)):
                expected.setdefault(subject, set()).add(token)
        assert self.cache._tokens == expected


TestAgainstAModel = AgainstAModel.TestCase
TestAgainstAModel.settings = settings(max_examples=50, stateful_step_count=40, deadline=None)
