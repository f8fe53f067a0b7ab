"""Facts: what has happened, in the past tense."""

from __future__ import annotations

from typing import ClassVar, TypeVar
from uuid import UUID

import msgspec

F = TypeVar("F", bound="Fact")


class Fact(msgspec.Struct, frozen=True):
    """Something that has happened; other domains may hear of it. Its first UUID field is what it happened to.

    Attributes:
        version: of its shape; raise it when a field changes its meaning or goes.
    """

    version: ClassVar[int] = 1

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


def decoded(kind: type[F], payload: bytes | str) -> F:
    """The fact that `encoded` wrote. Unknown fields are ignored, so that an older reader follows a newer writer.

    Raises:
        msgspec.ValidationError: the payload is not such a fact.
    """
    return msgspec.json.decode(payload, type=kind)
