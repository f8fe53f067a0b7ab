"""Facts: what has happened, in the past tense."""

from __future__ import annotations

from typing import Any, ClassVar, TypeVar
from uuid import UUID

import msgspec

from fortress.errors import FortressError

F = TypeVar("F", bound="Fact")


class NewerFact(FortressError):
    """A fact in a version that only a newer release knows."""


class UndeclaredFact(FortressError):
    """A fact that no domain declares: nobody who reads the log would know what it is."""


class OlderFact(FortressError):
    """A fact in a version of which nobody has said what it meant."""


class Fact(msgspec.Struct, frozen=True):
    """Something that has happened; other domains may hear of it. Its first UUID field is what it happened to.

    Attributes:
        version: of its shape; raise it when a field changes its meaning or goes, and say in `upcast` what the old ones meant.
    """

    version: ClassVar[int] = 1

    @classmethod
    def upcast(cls, version: int, fields: dict[str, Any]) -> dict[str, Any]:
        """The fields of a fact of this version, as the next version has them; what lies in the log is read through it.

        It is called once for each version between the fact's own and the present one. Values are as JSON holds them.

        Raises:
            OlderFact: nobody has said how; a fact of version 2 or higher whose class does not is refused at the start.
        """
        del fields
        raise OlderFact(f"{cls.__name__} does not say what its version {version} meant")

    @property
    def aggregate(self) -> UUID:
        """What this happened to. Facts of one aggregate are heard in the order of their commits.

        Raises:
            TypeError: the fact has no UUID field.
        """
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if isinstance(value, UUID):
                return value
        raise TypeError(f"{type(self).__name__} has no UUID field to be ordered by")


def encoded(fact: Fact) -> bytes:
    """The fact as JSON, after each field has been checked against its type.

    Raises:
        msgspec.ValidationError: a field does not hold what it says.
    """
    payload = msgspec.json.encode(fact)
    msgspec.json.decode(payload, type=type(fact))
    return payload


def decoded(kind: type[F], payload: bytes | str, version: int | None = None) -> F:
    """The fact that `encoded` wrote. Unknown fields are ignored, so that an older reader follows a newer writer.

    Args:
        kind: its class.
        payload: JSON.
        version: in which it was written; unset: the present one.

    Raises:
        msgspec.ValidationError: the payload is not such a fact.
        NewerFact: a newer release wrote it, in a version that this one does not know.
    """
    if version is None or version == kind.version:
        return msgspec.json.decode(payload, type=kind)
    if version > kind.version:
        raise NewerFact(f"{kind.__name__} of version {version}; this release knows {kind.version}")
    fields: dict[str, Any] = msgspec.json.decode(payload, type=dict[str, Any])
    for step in range(version, kind.version):
        fields = kind.upcast(step, fields)
    return msgspec.convert(fields, kind)


def says_what_it_meant(kind: type[Fact]) -> bool:
    """Whether older versions of this fact can be read, if there are any."""
    return kind.version == 1 or "upcast" in {name for base in kind.__mro__[: kind.__mro__.index(Fact)] for name in vars(base)}
