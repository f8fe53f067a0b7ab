"""`cached`: the one word by which a query or a method of a service is kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar, overload

from fortress.cache.methods import CachedMethod, Method, P, R, S
from fortress.cache.plan import ABSENT_SECONDS, MOST, Lifetime
from fortress.cache.queries import CachedMany, CachedOne, CachedPages
from fortress.data.entity import Entity
from fortress.data.paged import Paged
from fortress.data.query import Many, One
from fortress.errors import CannotStart

T = TypeVar("T")


class Keeping(Protocol):
    """Makes a method a cached one."""

    def __call__(self, method: Method[S, P, R], /) -> CachedMethod[S, P, R]: ...


@overload
def cached(query: One[T], /, *, seconds: float, absent_seconds: float = ..., most: int = ...) -> CachedOne[T]: ...
@overload
def cached(query: Many[T], /, *, seconds: float, most: int = ...) -> CachedMany[T]: ...
@overload
def cached(query: Paged[T], /, *, seconds: float, most: int = ...) -> CachedPages[T]: ...
@overload
def cached(
    *, seconds: float, reads: Sequence[type[Entity]], absent_seconds: float = ..., most: int = ..., version: int = ...
) -> Keeping: ...
def cached(
    query: Any = None,
    /,
    *,
    seconds: float,
    reads: Sequence[type[Entity]] = (),
    absent_seconds: float | None = None,
    most: int = MOST,
    version: int = 1,
) -> Any:
    """Keep the answers of a query, or of a method of a service.

        on_sale = cached(page(select(Product), newest_first=Product.c.created_at), seconds=30)

        @cached(seconds=60, reads=[Sale])
        async def best_sellers(self, month: date) -> tuple[BestSeller, ...]: ...

    Answers are dropped by the commit that changes what they were read from. They are kept apart by every argument, and by who
    asks as far as that matters: a query with an owner by the caller's reach, a method by any Principal among its arguments.
    A method that is not told the caller, their language or their tenant must not find them out by itself.

    Args:
        query: made by `one`, `many` or `page`.
        seconds: for which an answer may be given at most, whatever happens; up to a day.
        reads: the entities whose changes make a method's answers stale; a query tells them itself.
        absent_seconds: the same for the answer that there is nothing; unset: `seconds`, but at most 5.
        most: answers that each process keeps; those used least lately go first.
        version: of a method: another one when the same type comes to mean something else.

    Raises:
        CannotStart: this can't be kept.
    """
    lifetime = Lifetime(seconds, min(seconds, ABSENT_SECONDS) if absent_seconds is None else absent_seconds, most)
    if query is None:
        return _keeping(reads, lifetime, version)
    for kind, kept in _QUERIES.items():
        if type(query) is kind:
            return kept(query, lifetime)
    raise CannotStart(f"cached({query!r}): only what one, many and page make can be kept")


_QUERIES: dict[type[Any], Callable[[Any, Lifetime], Any]] = {One: CachedOne, Many: CachedMany, Paged: CachedPages}


def _keeping(reads: Sequence[type[Entity]], lifetime: Lifetime, version: int) -> Any:
    return lambda method: CachedMethod(method, reads, lifetime, version)
