"""Which of an entity's fields are personal, where they stand in its rows, and what they are found by."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from fortress.data.columns import Blind, Field
from fortress.errors import CannotStart, FieldError, Invalid, Refusal
from fortress.security.sealing import place

# No column is called so.
_EVERY: Final = "*"


class SealedField(msgspec.Struct, frozen=True):
    """A personal field.

    Attributes:
        index: its place in a row.
        place: where its values stand, as they are bound to it.
        text: whether it is a str; else bytes.
    """

    index: int
    name: str
    place: bytes
    text: bool
    nullable: bool

    def plain(self, value: Any) -> bytes:
        """The value's bytes.

        Raises:
            Invalid: it is no text of Unicode.
        """
        if not self.text:
            return bytes(value)
        try:
            encoded: bytes = value.encode()
        except UnicodeEncodeError:
            raise Invalid((FieldError("", "A value is out of its bounds", "bounds"),)) from None
        return encoded


class BlindField(msgspec.Struct, frozen=True):
    """A blind index.

    Attributes:
        index: its place in a row.
        source: the place of the field that it is made of.
        purpose: what its keys are for: `table.column`.
        empty: what it is in Python.
        taken: what a second row of one value raises; None where there may be many.
    """

    index: int
    name: str
    source: int
    purpose: str
    normal: Callable[[str], str] | None
    empty: bytes | None
    taken: type[Refusal] | None

    def normalised(self, value: str | bytes) -> bytes:
        """The bytes that are compared in the value's place."""
        if isinstance(value, bytes):
            return value
        return (self.normal(value) if self.normal else value).encode("utf-8", "surrogatepass")


class Together(msgspec.Struct, frozen=True):
    """How all personal values of a row are sealed as one: opening them takes half as long, and they are not seen to be several.

    Attributes:
        holder: whose column keeps them. It can't be empty, so no update can take them away.
        place: where they stand, as they are bound to it.
        kind: what holds them by name; what is None is left out.
        decode: gives it of its bytes.
    """

    holder: SealedField
    place: bytes
    kind: type[Any]
    decode: Callable[[bytes], Any]


class PersonalFields(msgspec.Struct, frozen=True):
    """What of an entity is personal.

    Attributes:
        key, owner: places in a row, as the fields' `index` is.
        columns: the names of all columns, in their order.
        together: where the values of a row are sealed as one: there are several, and one of them is always there.
    """

    table: str
    columns: tuple[str, ...]
    key: int
    owner: int
    sealed: tuple[SealedField, ...]
    blind: tuple[BlindField, ...]
    together: Together | None

    @property
    def names(self) -> frozenset[str]:
        """The personal columns and the blind ones."""
        return frozenset([*(one.name for one in self.sealed), *(one.name for one in self.blind)])


def personal_fields(
    entity: type[Any], table: str, fields: Sequence[Field], *, key: str, owner: str | None, taken: Mapping[str, type[Refusal]]
) -> PersonalFields | None:
    """What of these fields is personal; None when nothing is.

    Raises:
        CannotStart: an entity without an owner, a type that can't be encrypted, or a blind index of something else.
    """
    places = {one.name: index for index, one in enumerate(fields)}
    sealed = tuple(_sealed(entity, table, places[one.name], one) for one in fields if one.personal)
    defaults = {one.name: one.default for one in msgspec.structs.fields(entity)}
    blind = tuple(
        _blind(entity, table, sealed, places[one.name], one, default=defaults[one.name], taken=taken.get(one.name))
        for one in fields
        if one.blind
    )
    if not sealed:
        return None
    if owner is None:
        raise _refused(entity, "has Personal fields, but no Owner whose key encrypts them")
    return PersonalFields(table, tuple(places), places[key], places[owner], sealed, blind, _together(table, sealed))


def _together(table: str, sealed: Sequence[SealedField]) -> Together | None:
    holder = next((field for field in sealed if not field.nullable), None)
    if holder is None or len(sealed) == 1:
        return None
    names: list[tuple[str, Any, None]] = [(field.name, (str if field.text else bytes) | None, None) for field in sealed]
    kind = msgspec.defstruct("Values", names, omit_defaults=True, frozen=True, gc=False)
    return Together(holder, place(table, _EVERY), kind, msgspec.msgpack.Decoder(kind).decode)


def _sealed(entity: type[Any], table: str, index: int, one: Field) -> SealedField:
    if one.python not in (str, bytes) or one.default is not None or one.references is not None:
        raise _refused(entity, f"field {one.name}: only str, bytes and `| None` can be Personal, without Default and References")
    return SealedField(index, one.name, place(table, one.name), one.python is str, one.nullable)


def _blind(
    entity: type[Any], table: str, sealed: Sequence[SealedField], index: int, one: Field, *, default: Any, taken: type[Refusal] | None
) -> BlindField:
    declared: Blind = one.blind or Blind("")
    source = next((field for field in sealed if field.name == declared.of), None)
    if source is None or one.python is not bytes:
        raise _refused(entity, f"field {one.name}: a blind index is bytes, and of a Personal field of the entity, not of {declared.of!r}")
    if default != (None if one.nullable else b"") or one.nullable != source.nullable:
        expected = "bytes | None = None" if source.nullable else 'bytes = b""'
        raise _refused(entity, f"field {one.name}: the blind index of {source.name} must be declared {expected}")
    if declared.normal is not None and not source.text:
        raise _refused(entity, f"field {one.name}: only text has a normal form")
    return BlindField(index, one.name, source.index, f"{table}.{one.name}", declared.normal, default, taken)


def _refused(entity: type[Any], problem: str) -> CannotStart:
    return CannotStart(f"entity {entity.__qualname__} {problem}")
