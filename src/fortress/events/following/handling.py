"""How a handler is called: with the fact, the Unit, and the services that it asks for."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any, Final, get_args, get_type_hints

from fortress import context
from fortress.context import RequestContext
from fortress.data import Unit
from fortress.errors import CannotStart, FortressError
from fortress.events.event import Event
from fortress.events.following.kinds import FactKinds, event_of
from fortress.events.following.log import Rows
from fortress.events.subscribers import Subscriber
from fortress.fact import Fact
from fortress.security.principal import SYSTEM, Principal

Provide = Callable[[type[Any]], Any]

# Handlers that only add rows never wait: the loop gets its turn in between.
_BREATH: Final = 16


class Unhandled(FortressError):
    """A handler failed.

    Attributes:
        index: of the fact in its batch.
    """

    def __init__(self, index: int) -> None:
        super().__init__("a handler failed")
        self.index = index


class TooSlow(FortressError):
    """A handler took longer than it may over one fact."""


class Handling:
    """One subscriber's handler.

    Args:
        provide: gives a service by its type; asked for all of them at once, so that what is missing is said at the start.

    Raises:
        CannotStart: a parameter has no type, nothing takes the fact, or nobody provides a service.
    """

    def __init__(self, subscriber: Subscriber, kinds: FactKinds, provide: Provide) -> None:
        self._subscriber = subscriber
        self._run = subscriber.run
        self._kinds = kinds
        wanted = _wanted(subscriber)
        self._facts = [name for name, kind in wanted.items() if _takes(subscriber, name, kind)]
        self._events = [name for name, kind in wanted.items() if kind is Event]
        self._units = [name for name, kind in wanted.items() if kind is Unit]
        if not (self._facts or self._events):
            raise CannotStart(f"subscriber {subscriber.name} has no parameter for the fact", hint="async def it(fact: OrderPlaced, …)")
        own = {*self._facts, *self._events, *self._units}
        self._services = {name: SYSTEM if kind is Principal else provide(kind) for name, kind in wanted.items() if name not in own}

    async def handle(self, unit: Unit, rows: Rows) -> None:
        """Run the handler on each of these, in their order, as parts of this unit. Raises Unhandled, from what went wrong."""
        given = self._services | dict.fromkeys(self._units, unit)
        for index, row in enumerate(rows):
            try:
                await self._one(given, row)
            except Exception as error:
                raise Unhandled(index) from error
            if index % _BREATH == _BREATH - 1:
                await asyncio.sleep(0)

    async def _one(self, given: dict[str, Any], row: Any) -> None:
        here = RequestContext(row["request_id"] or f"event-{row['id']}", "", SYSTEM)
        here.subscriber = self._subscriber.name
        context.current.set(here)
        fact = self._kinds.fact(row)
        for name in self._facts:
            given[name] = fact
        for name in self._events:
            given[name] = event_of(row, fact)
        limit = asyncio.timeout(self._subscriber.seconds)
        try:
            async with limit:
                await self._run(**given)
        except TimeoutError:
            if limit.expired():
                raise TooSlow(f"it took longer than {self._subscriber.seconds:g} s") from None
            raise


def _wanted(subscriber: Subscriber) -> dict[str, Any]:
    hints = get_type_hints(subscriber.run)
    wanted = {}
    for parameter in inspect.signature(subscriber.run).parameters.values():
        if parameter.default is not inspect.Parameter.empty:
            continue
        if parameter.name not in hints:
            raise CannotStart(f"subscriber {subscriber.name}: parameter {parameter.name!r} has no type")
        wanted[parameter.name] = hints[parameter.name]
    return wanted


def _takes(subscriber: Subscriber, name: str, kind: Any) -> bool:
    """Whether this parameter is for the fact. Raises CannotStart when it can't take each fact that is heard."""
    kinds = get_args(kind) or (kind,)
    if not all(isinstance(one, type) and issubclass(one, Fact) for one in kinds):
        return False
    strange = [fact.__name__ for fact in subscriber.facts if not issubclass(fact, kinds)]
    if strange:
        raise CannotStart(f"subscriber {subscriber.name} hears {', '.join(strange)}, which its parameter {name!r} does not take")
    return True
