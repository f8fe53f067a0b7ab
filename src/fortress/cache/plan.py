"""What is fixed about one cached query or method: what it depends on, how long it is kept, and what shape its answers have."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import msgspec
from msgspec import inspect

from fortress.data.entity import Entity, shape_of
from fortress.errors import CannotStart

LONGEST_SECONDS: Final = 86_400.0
ABSENT_SECONDS: Final = 5.0
MOST: Final = 1000
_CHANGEABLE: Final = (
    inspect.ListType,
    inspect.SetType,
    inspect.DictType,
    inspect.ByteArrayType,
    inspect.MemoryViewType,
    inspect.TypedDictType,
    inspect.AnyType,
    inspect.CustomType,
    inspect.RawType,
)

Pack = Callable[[Any], bytes]
Unpack = Callable[[bytes], Any]


class Lifetime(msgspec.Struct, frozen=True):
    """How long answers may be given, how long the answer that there is nothing, and how many are kept in a process."""

    seconds: float
    absent_seconds: float
    most: int


class Plan(msgspec.Struct, frozen=True):
    """One declaration.

    Attributes:
        name: in metrics.
        tables: whose changes make its answers stale.
        row_table: the table of which each answer is about a single row; None: answers are about any rows.
        version: another one for every query text, result type and declared version, so that no release reads another's answers.
        pack, unpack: an answer to bytes and back; `unpack` raises msgspec.MsgspecError.
    """

    name: str
    tables: frozenset[str]
    row_table: str | None
    lifetime: Lifetime
    version: bytes
    pack: Pack
    unpack: Unpack


def check_lifetime(name: str, lifetime: Lifetime) -> None:
    """Raises CannotStart when an answer would live for no time or more than a day, or none may be kept."""
    seconds, absent, most = lifetime.seconds, lifetime.absent_seconds, lifetime.most
    if not (0 < seconds <= LONGEST_SECONDS and 0 < absent <= seconds and most >= 1):
        problem = f"cached {name}: 0 < absent_seconds <= seconds <= {LONGEST_SECONDS:.0f} and most >= 1 must hold"
        raise CannotStart(problem, hint="seconds bound how old an answer can get when no news of changes arrives")


def check_shared(name: str, kind: Any) -> None:
    """What is kept is given to many callers: none of them may be able to change it, and nothing of it may be personal.

    Raises:
        CannotStart: something within this type can be changed, is open to anything, or holds personal data (SEC002, ASVS V14.2.2).
    """
    for part in _parts(_info(name, kind)):
        if isinstance(part, _CHANGEABLE):
            what = type(part).__name__.removesuffix("Type").lower()
            problem = f"cached {name}: its answers hold a {what}, which one caller could change for all others"
            raise CannotStart(problem, hint="use tuple[...], frozenset[...] and frozen Structs")
        if isinstance(part, inspect.StructType):
            _check_struct(name, part)
        elif isinstance(part, inspect.DataclassType) and not vars(part.cls)["__dataclass_params__"].frozen:
            raise _changeable(name, part.cls)


def check_not_personal(name: str, entities: Iterable[type[Entity]]) -> None:
    """Raises CannotStart for entities with personal fields: what is read of them is in plain (SEC002, ASVS V14.2.2)."""
    for entity in entities:
        if shape_of(entity).personal is not None:
            raise personal(name, entity.__qualname__)


def version_of(kind: Any, *parts: str) -> bytes:
    """A name for this result type and these texts together."""
    described = msgspec.json.encode([_described(_info("", kind)), *parts])
    return hashlib.blake2b(described, digest_size=16).digest()


def _check_struct(name: str, part: inspect.StructType) -> None:
    cls: type[msgspec.Struct] = getattr(part.cls, "__origin__", part.cls)
    if not cls.__struct_config__.frozen:
        raise _changeable(name, cls)
    if issubclass(cls, Entity):
        check_not_personal(name, [cls])


def _changeable(name: str, cls: type[Any]) -> CannotStart:
    return CannotStart(f"cached {name}: {cls.__qualname__} is not frozen, so one caller could change it for all others")


def personal(name: str, what: str) -> CannotStart:
    """What refuses to keep something personal."""
    return CannotStart(
        f"cached {name}: {what} has Personal fields, and what is personal is never kept in plain (SEC002)",
        hint="cache a query of columns that are not personal, or none",
    )


def _info(name: str, kind: Any) -> inspect.Type:
    try:
        return inspect.type_info(kind)
    except (TypeError, NameError) as error:
        raise CannotStart(f"cached {name}: {kind!r} can't be kept: {error}") from None


def _parts(info: inspect.Type, seen: frozenset[int] = frozenset()) -> Iterator[inspect.Type]:
    """This type and every type within it; one that is within itself, once."""
    if id(info) in seen:
        return
    yield info
    for inner in _within(info):
        yield from _parts(inner, seen | {id(info)})


def _within(info: inspect.Type) -> Iterator[inspect.Type]:
    if isinstance(info, (inspect.StructType, inspect.DataclassType, inspect.NamedTupleType)):
        yield from (field.type for field in info.fields)
    elif isinstance(info, inspect.UnionType):
        yield from info.types
    elif isinstance(info, inspect.TupleType):
        yield from info.item_types
    elif isinstance(info, inspect.CollectionType):
        yield info.item_type


def _described(info: inspect.Type) -> list[Any]:
    """The type's outline: kinds, and the names of fields and of an enumeration's values."""
    return [_outline(part) for part in _parts(info)]


def _outline(part: inspect.Type) -> list[str]:
    said = [type(part).__name__]
    if isinstance(part, (inspect.StructType, inspect.DataclassType, inspect.NamedTupleType)):
        said += [field.encode_name for field in part.fields]
    elif isinstance(part, inspect.EnumType):
        said += [f"{one.name}={one.value}" for one in part.cls]
    elif isinstance(part, inspect.LiteralType):
        said += map(str, part.values)
    return said
