"""What a version had and its successor has not. Handlers know the current shapes only; the way back is written once, here."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from datetime import date
from functools import reduce
from typing import Any, Final, NamedTuple, get_args, get_origin, get_type_hints

import msgspec

from fortress.clock import Clock
from fortress.data.pages import Page
from fortress.errors import CannotStart, Gone
from fortress.http import answers
from fortress.http.answers import Answer
from fortress.http.headers import Ending, midnight
from fortress.http.request import Request
from fortress.http.streams import Lines, closed_after

Shift = Callable[[Any], Any]


class VersionGone(Gone):
    """This version of the address has ended; `Link` names the one that follows it."""

    code, title = "versions.gone", "This version has ended"


class Past(msgspec.Struct, frozen=True):
    """The shapes of one version that its successor changed.

    Attributes:
        version: the last one that has these shapes.
        deprecated, sunset: since when it is discouraged, and when its addresses stop (RFC 9745, RFC 8594).
        answers: each makes this version's answer of the successor's; the shapes are those of its annotations.
        inputs: each makes the successor's body of this version's.
    """

    version: int
    deprecated: date
    sunset: date
    answers: Sequence[Shift] = ()
    inputs: Sequence[Shift] = ()

    @property
    def ending(self) -> Ending:
        """When its addresses stop."""
        return Ending(self.version, self.deprecated, self.sunset)

    def changes(self) -> Iterator[tuple[str, Any, Any]]:
        """Each function's name, the successor's shape and this version's."""
        for shift in self.answers:
            newer, older = shapes_of(shift)
            yield shift.__qualname__, newer, older
        for shift in self.inputs:
            older, newer = shapes_of(shift)
            yield shift.__qualname__, newer, older


class Passage(NamedTuple):
    """How one version of a route is served by the handler of the current one.

    Attributes:
        body: the model that this version reads; None: the handler's own.
        raised: makes the handler's body of it.
        returns: what this version answers with, as an annotation.
        lowered: makes it of what the handler returns.
        ending: the first end that this version of the route comes to; None: none in sight.
    """

    body: Any
    raised: Shift | None
    returns: Any
    lowered: Shift | None
    ending: Ending | None


class _Step(NamedTuple):
    """From a version's shape to that of the one before."""

    older: Any
    shift: Shift
    ending: Ending


class Passages:
    """The ways from the current shapes back to those of each version.

    Raises:
        CannotStart: a function lacks annotations, or one shape has two pasts in a version.
    """

    def __init__(self, pasts: Iterable[Past]) -> None:
        self._answers: dict[tuple[int, Any], _Step] = {}
        self._inputs: dict[tuple[int, Any], _Step] = {}
        for past in pasts:
            for shift in past.answers:
                newer, older = shapes_of(shift)
                _enter(self._answers, (past.version, newer), _Step(older, shift, past.ending))
            for shift in past.inputs:
                older, newer = shapes_of(shift)
                _enter(self._inputs, (past.version, newer), _Step(older, shift, past.ending))
        self._versions = sorted({version for version, _ in (*self._answers, *self._inputs)}, reverse=True)

    def of(self, body: Any, returns: Any, version: int) -> Passage:
        """How a handler that takes `body` and returns `returns` serves `version`; 0 is outside of all versions."""
        shape, rewrap, wrapped = _unwrapped(returns)
        raised: list[Shift] = []
        lowered: list[Shift] = []
        ending: Ending | None = None
        for number in self._versions:
            if number < version or not version:
                break
            answer, taken = self._answers.get((number, shape)), self._inputs.get((number, body))
            if answer is not None:
                shape, ending = answer.older, answer.ending
                lowered.append(answer.shift)
            if taken is not None:
                body, ending = taken.older, taken.ending
                raised.append(taken.shift)
        return Passage(
            body,
            _in_turn(reversed(raised)) if raised else None,
            wrapped(shape),
            rewrap(_in_turn(lowered)) if lowered else None,
            ending,
        )


def shapes_of(shift: Shift) -> tuple[Any, Any]:
    """What a function takes and gives, by its annotations.

    Raises:
        CannotStart: it does not take one annotated thing and give another.
    """
    hints = dict(get_type_hints(shift))
    gives = hints.pop("return", None)
    if gives is None or len(hints) != 1:
        raise CannotStart(f"{shift.__qualname__} must say what it takes and what it gives", hint="def order_in_v1(order: Order) -> OrderV1")
    return next(iter(hints.values())), gives


def shape_within(returns: Any) -> Any:
    """What a handler's annotation is about: the order of `Created[Order]` and of `Page[Order]`."""
    return _unwrapped(returns)[0]


def ending_on(ending: Ending, clock: Clock, call: Callable[[Request], Awaitable[Answer]]) -> Callable[[Request], Awaitable[Answer]]:
    """The call, until its sunset; from then on it is refused with 410."""
    if ending.sunset is None:
        return call
    end, day = midnight(ending.sunset), ending.sunset.isoformat()

    async def called(request: Request) -> Answer:
        if clock.now() >= end:
            raise VersionGone(f"v{ending.last} of this address ended on {day}.")
        return await call(request)

    return called


def _enter(table: dict[tuple[int, Any], _Step], key: tuple[int, Any], step: _Step) -> None:
    if key in table:
        raise CannotStart(f"{key[1].__name__} has two pasts in v{key[0]}: {table[key].shift.__qualname__} and {step.shift.__qualname__}")
    table[key] = step


def _in_turn(shifts: Iterable[Shift]) -> Shift:
    steps = tuple(shifts)
    return steps[0] if len(steps) == 1 else lambda value: reduce(lambda made, step: step(made), steps, value)


def _unwrapped(returns: Any) -> tuple[Any, Callable[[Shift], Shift], Callable[[Any], Any]]:
    """The shape inside of an annotation, how a shift of it becomes one of the whole, and the annotation around another shape."""
    origin = get_origin(returns)
    if origin in _WRAPPERS:
        return get_args(returns)[0], _WRAPPERS[origin], lambda shape: origin[shape]
    return returns, lambda shift: shift, lambda shape: shape


def _of_value(shift: Shift) -> Shift:
    return lambda wrapped: msgspec.structs.replace(wrapped, value=shift(wrapped.value))


def _of_page(shift: Shift) -> Shift:
    return lambda page: Page([shift(item) for item in page.items], page.next)


def _of_list(shift: Shift) -> Shift:
    return lambda items: [shift(item) for item in items]


def _of_lines(shift: Shift) -> Shift:
    async def batches(lines: Lines[Any]) -> AsyncIterator[Sequence[Any]]:
        async with closed_after(lines.batches):
            async for batch in lines.batches:
                yield [shift(item) for item in batch]

    return lambda lines: Lines(batches(lines))


_WRAPPERS: Final[dict[Any, Callable[[Shift], Shift]]] = {
    answers.Created: _of_value,
    answers.Accepted: _of_value,
    answers.Headed: _of_value,
    Page: _of_page,
    list: _of_list,
    Lines: _of_lines,
}
