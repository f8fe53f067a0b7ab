"""Guarded routes whose handlers do nothing: what remains is the gate."""

from __future__ import annotations

from typing import Final

import msgspec

from fortress.http import Route, get, per_minute
from fortress.security import Permission, Role

CONSTANT: Final = Permission("bench:constant", "Read a constant")
LIMITED: Final = Permission("bench:limited", "Read a constant under a usual limit")
CONSTANT_USER: Final = Role("bench", "Everyone here", grants=[CONSTANT, LIMITED], by_default=True)
USUAL_LIMIT: Final = 600


class Constant(msgspec.Struct, frozen=True):
    """The same small body as the peers' constant."""

    name: str
    answer: int


async def constant() -> Constant:
    """A constant."""
    return Constant("constant", 42)


def constant_route(number: int) -> Route:
    """The constant, at a path of its own."""
    return get(f"/bench/constant{number}", allow=CONSTANT, limit=per_minute(USUAL_LIMIT))(constant)


@get("/bench/limited", allow=LIMITED, limit=per_minute(USUAL_LIMIT))
async def limited() -> Constant:
    """A constant."""
    return Constant("limited", 42)
