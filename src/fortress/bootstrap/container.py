"""Makes each service once, from what its constructor asks for by type."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar, get_type_hints

from fortress.errors import CannotStart

T = TypeVar("T")


class Container:
    """What lives as long as the application.

    Args:
        parts: ready objects, each found under its type and the types given with it.
        classes: what may be made when asked for.
        doors: Protocol → class that stands behind it.
        made: called with each object that was made here.
    """

    def __init__(
        self,
        parts: dict[type[Any], Any],
        classes: Iterable[type[Any]],
        doors: dict[type[Any], type[Any]],
        made: Callable[[object], object] = lambda _made: None,
    ) -> None:
        self._made: dict[type[Any], Any] = dict(parts)
        self._classes = set(classes)
        self._doors = doors
        self._tell_made = made
        self._making: list[type[Any]] = []

    def get(self, kind: type[T]) -> T:
        """The one `kind` there is, made now if need be.

        Raises:
            CannotStart: nobody provides it, or services need each other in a ring.
        """
        made = self._made.get(kind)
        if made is None:
            made = self._made[kind] = self._make(self._doors.get(kind, kind))
        return made  # type: ignore[no-any-return]  # the map's keys are the types of its values

    def add(self, kind: type[T], part: T) -> None:
        """Another ready part."""
        self._made[kind] = part

    def bind(self, function: Callable[..., Awaitable[Any]]) -> Callable[[], Awaitable[Any]]:
        """`function` with every parameter filled by its type."""
        given = self._arguments(function, get_type_hints(function), function.__qualname__)

        async def bound() -> Any:
            return await function(**given)

        return bound

    def _make(self, kind: type[Any]) -> Any:
        if kind in self._made:
            return self._made[kind]
        if kind not in self._classes:
            wanted = f"{self._making[-1].__qualname__} needs" if self._making else "a handler needs"
            raise CannotStart(f"{wanted} a {kind.__qualname__}, which no domain provides", hint="list it in the manifest's services=[…]")
        if kind in self._making:
            ring = " → ".join(item.__qualname__ for item in [*self._making, kind])
            raise CannotStart(f"services need each other in a ring: {ring}")
        self._making.append(kind)
        try:
            made = kind(**self._arguments(kind.__init__, get_type_hints(kind.__init__), kind.__qualname__))
        finally:
            self._making.pop()
        self._made[kind] = made
        self._tell_made(made)
        return made

    def _arguments(self, function: Any, hints: dict[str, Any], name: str) -> dict[str, Any]:
        given = {}
        for parameter in inspect.signature(function).parameters.values():
            if parameter.name == "self" or parameter.default is not inspect.Parameter.empty or parameter.kind in _VARIADIC:
                continue
            if parameter.name not in hints:
                raise CannotStart(f"{name}: parameter {parameter.name!r} has no type")
            given[parameter.name] = self.get(hints[parameter.name])
        return given


_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
