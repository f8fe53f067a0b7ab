"""Many small actions in one request: each stands for itself, and the answer says what came of each."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Generic, TypeVar

import msgspec
import structlog

from fortress.context import current
from fortress.data.retry import retrying
from fortress.errors import FieldError, Invalid, Refusal
from fortress.http.problems import Fault

I = TypeVar("I")
T = TypeVar("T")
_DONE = 200
_log = structlog.get_logger("fortress.http")


class ItemProblem(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why one item was refused, in the words of the problem documents (RFC 9457)."""

    code: str
    title: str
    detail: str
    errors: tuple[FieldError, ...] = ()


class ItemResult(msgspec.Struct, Generic[T], frozen=True, omit_defaults=True):
    """What came of one item.

    Attributes:
        index: its place in the request.
        status: the one that it would have had by itself.
        value: what was done, where it was.
        problem: why it was refused, where it was.
    """

    index: int
    status: int
    value: T | None = None
    problem: ItemProblem | None = None


class Results(msgspec.Struct, Generic[T], frozen=True):
    """What came of all of them, in the order of the request."""

    results: tuple[ItemResult[T], ...]


async def each(items: Iterable[I], act: Callable[[I], Awaitable[T]]) -> Results[T]:
    """Act on each item, one after another, each in a transaction of its own; what is refused stops no other.

    The input's model bounds how many there may be. An error that nobody foresaw is logged and is one item's too: what was
    done before it stays done, and the caller has to learn of it.
    """
    return Results(tuple([await _result(index, item, act) for index, item in enumerate(items)]))


async def _result(index: int, item: I, act: Callable[[I], Awaitable[T]]) -> ItemResult[T]:
    try:
        return ItemResult(index, _DONE, await _by_itself(item, act))
    except Refusal as refusal:
        return _refused(index, refusal)
    except Exception as error:
        _log.exception("bulk.fault", index=index, error=type(error).__name__)
        return _refused(index, Fault())


async def _by_itself(item: I, act: Callable[[I], Awaitable[T]]) -> T:
    """The item's action, again when another transaction was in its way: what earlier items have committed is none of its affair."""
    here = current.get()
    if here is None:
        return await retrying(lambda: act(item), None)
    before, here.committed = here.committed, False
    try:
        return await retrying(lambda: act(item), here)
    finally:
        here.committed |= before


def _refused(index: int, refusal: Refusal) -> ItemResult[T]:
    errors = refusal.errors if isinstance(refusal, Invalid) else ()
    return ItemResult(index, refusal.status, problem=ItemProblem(refusal.code, refusal.title, refusal.detail, errors))
