"""What the limiter says of one request, and how it is told to the client."""

from __future__ import annotations

import math

import msgspec

Headers = tuple[tuple[bytes, bytes], ...]


class Verdict(msgspec.Struct, frozen=True):
    """May this request pass?

    Attributes:
        allowed: whether it may.
        remaining: requests left, as far as this worker knows.
        reset_after: seconds until the whole quota is there again.
        retry_after: whole seconds after which it makes sense to come again; 0 when allowed.
        headers: `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers). `Retry-After` comes from
            the refusal, TooManyRequests(verdict.retry_after), and says the same as `t`.
    """

    allowed: bool
    remaining: int
    reset_after: float
    retry_after: int
    headers: Headers


def allowed(policy: bytes, remaining: int, reset_after: float) -> Verdict:
    state = b'"default";r=%d;t=%d' % (remaining, reset_after + 1)
    return Verdict(True, remaining, reset_after, 0, ((b"ratelimit-policy", policy), (b"ratelimit", state)))


def refused(policy: bytes, reset_after: float, retry_after: float, spread: float) -> Verdict:
    """A refusal; `spread` (0 to 1) puts off the retry by up to a tenth, so that those refused together don't return together."""
    seconds = max(1, math.ceil(retry_after * (1 + spread / 10)))
    headers = ((b"ratelimit-policy", policy), (b"ratelimit", b'"default";r=0;t=%d' % seconds))
    return Verdict(False, 0, reset_after, seconds, headers)
