"""Tokens that a worker has in hand for one key."""

from __future__ import annotations

from fortress.limits.verdict import Verdict, allowed


class Lease:
    """What the last answer of the store gave, and what is left of it.

    Attributes:
        left: tokens to spend.
        size: tokens that were leased: one for the request that asked, the rest for those after it.
        ends: monotonic seconds after which no token may be spent.
        lost_at: monotonic seconds after which none may be given back either.
        until: monotonic seconds after which this says nothing any more: `ends`, or when a refusal has to be asked again.
        base: tokens left in the bucket.
        full_at: monotonic seconds at which the bucket is full.
        refusal: the answer when nothing is left; None: ask the store.
    """

    __slots__ = ("base", "ends", "full_at", "left", "lost_at", "policy", "refusal", "size", "until")

    def __init__(self, policy: bytes, now: float) -> None:
        self.policy = policy
        self.size = 1
        self.ends = self.lost_at = self.until = now
        self.left = self.base = 0
        self.full_at = 0.0
        self.refusal: Verdict | None = None

    def spend(self, now: float) -> Verdict | None:
        """One token, whether or not the lease has ended; else the refusal; else None."""
        left = self.left - 1
        if left < 0:
            return self.refusal
        self.left = left
        wait = self.full_at - now
        return allowed(self.policy, self.base + left, wait if wait > 0 else 0.0)
