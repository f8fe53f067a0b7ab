"""The generic cell rate algorithm (GCRA, ITU-T I.371), as plain arithmetic without a clock or a store.

A key's whole state is its *theoretical arrival time* (`tat`): the moment at which its bucket will be full again.
A token costs `emission` = window / quota; a bucket holds `quota` tokens. So in any stretch of time of length d, both
ends included, at most `quota + d // emission` tokens are granted, and never more than `quota` at once.

Times are whole microseconds: sums are exact in Python, in a bigint and in the doubles of Redis' Lua (now < 2⁵³), so that every
store decides alike. `emission` is rounded up: a limit is never exceeded, and falls short by less than a microsecond per token.

**Leases.** A worker may take tokens now, spend them up to `life` later, and give back what it did not spend. A bucket that
went on refilling meanwhile would count those tokens twice: once back in the bucket, once spent. So while a lease may still
be alive (`life` after the last take), a bucket does not refill beyond `quota - held`, where `held` is the most that all
workers together may have in hand. With that the bound above holds for the moments of *spending* too, exactly.
"""

from __future__ import annotations

from typing import Final

import msgspec

MICROSECONDS: Final = 1_000_000


class Rate(msgspec.Struct, frozen=True):
    """A limit in the terms of the arithmetic.

    Attributes:
        emission: microseconds in which one token comes back.
        quota: tokens that a full bucket holds.
        held: tokens that all workers together may have leased and not spent; 0: nobody leases.
        life: microseconds in which a lease is spent or given back.
    """

    emission: int
    quota: int
    held: int = 0
    life: int = 0

    @property
    def burst(self) -> int:
        """Microseconds in which an empty bucket becomes full."""
        return self.emission * self.quota


class Bucket(msgspec.Struct, frozen=True):
    """What is kept of a key: when it will be full again, and when tokens were last taken (microseconds)."""

    tat: int
    taken: int


class Step(msgspec.Struct, frozen=True):
    """One decision: the bucket after it, the tokens granted, and `used`: microseconds until the bucket is full."""

    bucket: Bucket
    granted: int
    used: int


def rate_of(quota: int, window: int, *, share: int = 1) -> Rate:
    """`quota` tokens in `window` seconds, divided among `share` takers who do not know of each other; at least a burst of 1."""
    emission = -(-window * MICROSECONDS // quota)
    return Rate(emission * share, max(1, quota // share))


def used_at(rate: Rate, bucket: Bucket, now: int) -> int:
    """Microseconds that the bucket is away from full. Never more than a whole burst, should the store's clock have gone back."""
    held = min(rate.held * rate.emission, bucket.tat - bucket.taken) if now < bucket.taken + rate.life else 0
    return min(max(bucket.tat - now, held, 0), rate.burst)


def take(rate: Rate, bucket: Bucket | None, now: int, wanted: int, least: int = 1, returned: int = 0) -> Step:
    """Give back the `returned` tokens and take up to `wanted`; neither, when fewer than `least` would be there.

    Who wants none only gives back. Tokens that come back after `life` are lost: the bucket may have refilled them itself.

    Raises:
        ValueError: not 1 ≤ least ≤ wanted though something is taken, or less than nothing is returned.
    """
    check_demand(wanted, least, returned)
    used = 0 if bucket is None else used_at(rate, bucket, now)
    if bucket is not None and now < bucket.taken + rate.life:
        used = max(0, used - returned * rate.emission)
    free = (rate.burst - used) // rate.emission
    if free < least:
        return Step(bucket or Bucket(now, now), 0, used)
    granted = min(wanted, free)
    used += granted * rate.emission
    return Step(Bucket(now + used, now), granted, used)


def check_demand(wanted: int, least: int, returned: int) -> None:
    """Raises ValueError unless 1 ≤ least ≤ wanted and 0 ≤ returned, or tokens are only given back."""
    gives_back_only = least == wanted == 0 < returned
    if not gives_back_only and (not 1 <= least <= wanted or returned < 0):
        raise ValueError("take at least one token and no more than are wanted, and give back none or some")
