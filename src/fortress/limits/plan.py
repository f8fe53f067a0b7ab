"""What a limit means on one of so many workers: how much it may lease, and what is left to it when the store is away."""

from __future__ import annotations

from typing import Final

from fortress.limits.gcra import MICROSECONDS, Rate, rate_of
from fortress.limits.lease import Lease
from fortress.limits.policy import Limit

# All workers together may have 1/40 of a quota in hand, and as much may be kept from refilling for their sake: so nobody is
# refused while more than 5 % remains.
IN_HAND: Final = 40
LONGEST_LEASE: Final = 5.0
WINDOW_SHARE: Final = 10
# In so many seconds a worker who asks again can give back what it did not spend; no longer than stores keep an idle key.
LONGEST_LIFE: Final = 60
GROWTH: Final = 8
# From a tenth of the quota on, leases are a quarter of this worker's part of what remains.
NEAR: Final = 4
# Without the store a strict limit comes back at a quarter of its share: guesses at a password get rarer, never more frequent.
STRICTER: Final = 4
# At once as well, but not less than this as far as the whole share goes: who mistypes once, or comes with two tabs at once, is
# not kept out until a small limit's next token, which may take half an hour.
LEAST_AT_ONCE: Final = 3


class Plan:
    """A limit's figures, worked out once.

    Attributes:
        rate: what is asked of the store.
        local: what is allowed here while the store is away.
        returning, returning_locally: the same two, for a strict limit's token that is given back within LONGEST_LIFE.
        share: tokens that this worker may have in hand per key; 1 means that it takes no leases.
        lease_seconds: in which tokens in hand may be spent.
        life: seconds in which they may be given back.
        header: the value of `RateLimit-Policy`.
    """

    __slots__ = ("_workers", "header", "lease_seconds", "life", "local", "rate", "returning", "returning_locally", "share")

    def __init__(self, limit: Limit, workers: int) -> None:
        share = 1 if limit.strict else max(1, limit.quota // (IN_HAND * workers))
        leases = share > 1
        self.share = share
        self.lease_seconds = min(LONGEST_LEASE, limit.window / WINDOW_SHARE) if leases else 0.0
        self.life = min(LONGEST_LIFE, limit.window) if leases else 0
        plain = rate_of(limit.quota, limit.window)
        held = share * workers if leases else 0
        self.rate = Rate(plain.emission, plain.quota, held, self.life * MICROSECONDS)
        self.local = _stricter(limit, workers) if limit.strict else rate_of(limit.quota, limit.window, share=workers)
        self.returning = Rate(plain.emission, plain.quota, 0, LONGEST_LIFE * MICROSECONDS)
        self.returning_locally = Rate(self.local.emission, self.local.quota, 0, LONGEST_LIFE * MICROSECONDS)
        self.header = b'"default";q=%d;w=%d' % (limit.quota, limit.window)
        self._workers = workers

    def next_size(self, before: Lease, now: float) -> int:
        """Tokens to lease after the lease `before`.

        It grows while leases are used up before they end, follows the use when they are not, and shrinks to 1 as
        the limit comes near, so that the last tokens go to whoever asks first.
        """
        grown = before.size * GROWTH if now < before.ends else before.size - before.left
        near = before.base // (NEAR * self._workers)
        return max(1, min(self.share, grown, near))


def _stricter(limit: Limit, workers: int) -> Rate:
    """What is left of a strict limit to one worker."""
    quarter = rate_of(limit.quota, limit.window, share=workers * STRICTER)
    at_once = max(quarter.quota, min(LEAST_AT_ONCE, limit.quota // workers))
    return Rate(quarter.emission, at_once)
