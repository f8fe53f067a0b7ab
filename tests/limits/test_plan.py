from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fortress.limits.lease import Lease
from fortress.limits.plan import LONGEST_LEASE, Plan
from fortress.limits.policy import Limit, per_hour, per_minute, per_second, strict

LIMITS = st.builds(Limit, st.integers(1, 10**6), st.integers(1, 86_400), strict=st.booleans())


@given(LIMITS, st.integers(1, 64))
def test_what_is_in_hand_and_what_is_held_back_are_a_twentieth_at_most(limit: Limit, workers: int) -> None:
    plan = Plan(limit, workers)
    in_hand = 0 if plan.share == 1 else plan.share * workers
    assert plan.rate.held == in_hand
    assert (in_hand + plan.rate.held) * 20 <= limit.quota


@given(LIMITS, st.integers(1, 64))
def test_local_shares_together_never_exceed_the_limits_rate(limit: Limit, workers: int) -> None:
    plan = Plan(limit, workers)
    assert plan.local.emission >= plan.rate.emission * workers
    assert plan.local.quota * workers <= max(limit.quota, workers)


@pytest.mark.parametrize("limit", [strict(per_minute(100_000)), per_minute(20)])
def test_strict_and_small_limits_take_no_leases(limit: Limit) -> None:
    plan = Plan(limit, 1)
    assert (plan.share, plan.lease_seconds, plan.rate.held, plan.rate.life) == (1, 0.0, 0, 0)


def test_a_strict_limits_local_share_is_stricter() -> None:
    assert Plan(per_minute(80), 2).local.quota == 40
    assert Plan(strict(per_minute(80)), 2).local.quota == 10


@pytest.mark.parametrize(("workers", "at_once"), [(1, 3), (2, 3), (3, 3), (4, 2), (8, 1), (16, 1)])
def test_a_small_strict_limits_local_share_lets_a_few_come_at_once_but_never_more_than_the_whole_share(workers: int, at_once: int) -> None:
    limit = strict(Limit(10, 1800))
    plan = Plan(limit, workers)
    assert plan.local.quota == at_once
    assert plan.local.emission == plan.rate.emission * workers * 4, "and comes back as slowly as any strict limit's"


@pytest.mark.parametrize(("limit", "life"), [(per_second(1000), 0.1), (per_minute(1000), LONGEST_LEASE), (per_hour(1000), LONGEST_LEASE)])
def test_leases_are_short(limit: Limit, life: float) -> None:
    assert Plan(limit, 1).lease_seconds == life


def _lease(size: int, left: int, base: int, ends: float = 10.0) -> Lease:
    lease = Lease(b"", ends)
    lease.size, lease.left, lease.base = size, left, base
    return lease


@pytest.mark.parametrize(
    ("before", "now", "size"),
    [
        (_lease(1, 0, 9_000), 9.0, 8),
        (_lease(8, 0, 9_000), 9.0, 64),
        (_lease(64, 0, 9_000), 9.0, 250),
        (_lease(64, 60, 9_000), 11.0, 4),
        (_lease(1, 0, 9_000), 11.0, 1),
        (_lease(250, 0, 400), 9.0, 100),
        (_lease(250, 0, 7), 9.0, 1),
        (_lease(250, 0, 0), 9.0, 1),
    ],
)
def test_leases_grow_with_the_use_and_shrink_as_the_limit_comes_near(before: Lease, now: float, size: int) -> None:
    assert Plan(per_minute(10_000), 1).next_size(before, now) == size
