"""How often something that failed is tried again, and how long each time is waited."""

from __future__ import annotations

import random

import msgspec


class Retry(msgspec.Struct, frozen=True):
    """How often, and how long in between.

    Attributes:
        times: further tries after the first one; none: what fails once is dead.
        first: seconds before the first of them.
        factor: how much longer each pause is than the one before.
        longest: seconds that no pause exceeds.
    """

    times: int
    first: float
    factor: float
    longest: float

    def pause(self, failures: int) -> float | None:
        """Seconds to wait after so many failures, spread by chance over a half; None when it is dead."""
        if failures > self.times:
            return None
        # The exponent is bounded: a float that overflows would raise.
        steps = min(failures - 1, 64)
        whole = min(self.first * self.factor**steps, self.longest)
        return whole * random.uniform(0.5, 1.0)  # noqa: S311 - spreads the tries, hides nothing


def backoff(times: int, *, first: float = 1.0, factor: float = 2.0, longest: float = 3600.0) -> Retry:
    """Try again so many times, after pauses that grow. Raises ValueError for what is no such thing."""
    if times < 0 or first <= 0 or factor < 1 or longest < first:
        raise ValueError("backoff(times ≥ 0, first > 0, factor ≥ 1, longest ≥ first)")
    return Retry(times, first, factor, longest)
