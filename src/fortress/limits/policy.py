"""Limits as data: how many in how long, and how carefully."""

from __future__ import annotations

import msgspec


class Limit(msgspec.Struct, frozen=True):
    """So many requests in so long, per caller and route.

    Attributes:
        quota: requests in a window; also the burst that may come at once.
        window: seconds.
        strict: no lease is taken: every request asks the store (sign-in, reset, token).
        group: routes with the same group, and the same limit, share one count; None: each route counts alone.
    """

    quota: int
    window: int
    strict: bool = False
    group: str | None = None

    def __post_init__(self) -> None:
        if self.quota < 1 or self.window < 1:
            raise ValueError("a limit needs a quota and a window of at least 1")


def per_second(quota: int, *, group: str | None = None) -> Limit:
    return Limit(quota, 1, group=group)


def per_minute(quota: int, *, group: str | None = None) -> Limit:
    return Limit(quota, 60, group=group)


def per_hour(quota: int, *, group: str | None = None) -> Limit:
    return Limit(quota, 3600, group=group)


def strict(limit: Limit) -> Limit:
    """The same limit, asked of the store every time."""
    return msgspec.structs.replace(limit, strict=True)
