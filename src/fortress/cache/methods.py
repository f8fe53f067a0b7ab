"""Cached methods of services: what is worked out from several queries, kept as one answer."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Concatenate, Final, Generic, ParamSpec, TypeVar, get_type_hints, overload

import msgspec

from fortress.cache.plan import Lifetime, Plan, check_lifetime, check_not_personal, check_shared, version_of
from fortress.cache.shelf import Shelf
from fortress.data.entity import Entity, shape_of
from fortress.errors import CannotStart
from fortress.security.principal import Principal

P = ParamSpec("P")
S = TypeVar("S")
R = TypeVar("R")

Method = Callable[Concatenate[S, P], Coroutine[Any, Any, R]]
_pack: Final = msgspec.msgpack.Encoder().encode
_key: Final = msgspec.msgpack.Encoder(order="deterministic").encode


class CachedMethod(Generic[S, P, R]):
    """A coroutine method whose answers are kept. See `cached`.

    On a service that a server has made it answers from memory; on any other object it is the plain method.
    """

    def __init__(self, method: Method[S, P, R], reads: Sequence[type[Entity]], lifetime: Lifetime, version: int) -> None:
        self._method = method
        self._reads = tuple(reads)
        self._lifetime = lifetime
        self._version = version
        self._place = ""
        self.name = method.__qualname__
        self.__doc__ = method.__doc__
        self.__wrapped__ = method

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = f"{owner.__name__}.{name}"
        self._place = name

    @overload
    def __get__(self, instance: None, owner: type) -> CachedMethod[S, P, R]: ...
    @overload
    def __get__(self, instance: S, owner: type) -> Callable[P, Coroutine[Any, Any, R]]: ...
    def __get__(self, instance: S | None, owner: type) -> Any:
        return self if instance is None else self._method.__get__(instance, owner)

    def plan(self) -> Plan:
        """What is fixed about it.

        Raises:
            CannotStart: its answers may not be kept: they are personal, can be changed, or say nothing of their type.
        """
        returns = get_type_hints(self._method).get("return", Any)
        if not self._reads:
            raise CannotStart(f"cached {self.name} reads nothing", hint="reads=[…]: the entities that it hangs on")
        check_lifetime(self.name, self._lifetime)
        check_not_personal(self.name, self._reads)
        check_shared(self.name, returns)
        unpack = msgspec.msgpack.Decoder(tuple[returns]).decode  # type: ignore[valid-type]  # a type made at run time
        return Plan(
            name=self.name,
            tables=frozenset(shape_of(entity).name for entity in self._reads),
            row_table=None,
            lifetime=self._lifetime,
            version=version_of(returns, str(self._version)),
            pack=lambda value: _pack((value,)),
            unpack=lambda packed: unpack(packed)[0],
        )

    def keep(self, service: Any, shelf: Shelf) -> None:
        """From now on this service's answers are kept there."""
        method = self._method.__get__(service, type(service))

        async def answered(*given: P.args, **named: P.kwargs) -> Any:
            if not shelf.open:
                return await method(*given, **named)
            key = _key(([_keyed(value) for value in given], {name: _keyed(value) for name, value in named.items()}))
            entry = shelf.fresh(key)
            return entry.value if entry is not None else await shelf.obtain(key, None, lambda: method(*given, **named))

        # Found before this descriptor, which has no __set__: a call costs no look at it.
        vars(service)[self._place] = answered


def _keyed(value: Any) -> Any:
    """A caller as far as an answer can depend on them: who they are, how they came, and all that they may."""
    if not isinstance(value, Principal):
        return value
    return (value.id, value.method.value, value.grants, value.locked, value.reach.value, value.session, value.factors)
