"""One row's personal values, sealed and opened: each in its own column, or all in the column of one that is always there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

import msgspec

from fortress.data.personal.cache import SubjectKeys
from fortress.data.personal.datakeys import Erased
from fortress.data.personal.fields import PersonalFields, SealedField, Together
from fortress.security.sealing import HEADER_BYTES, TOGETHER, ValueCipher
from fortress.security.wrapping import Unreadable

# What stands in the column of a value that is sealed with the others.
ELSEWHERE: Final = TOGETHER
_encode: Final = msgspec.msgpack.Encoder().encode


class NewerKey(Exception):
    """A value was sealed by a version of its person's key that we don't hold."""


def sealed_row(fields: PersonalFields, cipher: ValueCipher, id: bytes, values: Sequence[Any]) -> list[bytes | None]:
    """What the columns keep of these values, both in the order of the sealed fields.

    Raises:
        Invalid: one of them is no text of Unicode.
    """
    plain = [None if value is None else field.plain(value) for field, value in zip(fields.sealed, values, strict=True)]
    together = fields.together
    if together is None:
        return [None if value is None else cipher.seal(field.place, id, value) for field, value in zip(fields.sealed, plain, strict=True)]
    stored = [None if value is None else ELSEWHERE for value in plain]
    stored[fields.sealed.index(together.holder)] = cipher.seal_together(together.place, id, _encode(together.kind(*values)))
    return stored


def opened_row(fields: PersonalFields, keys: SubjectKeys, id: bytes, stored: Sequence[bytes | None]) -> list[Any]:
    """The values behind what the columns keep, both in the order of the sealed fields.

    Raises:
        NewerKey: they are sealed by a key that we don't hold.
        Erased: a value that must be there belongs to somebody whose data was erased; where None is allowed it is None.
        Unreadable: they were tampered with or moved.
    """
    others = _together(fields, keys, id, stored)
    holder = fields.together.holder if fields.together and others is not None else None
    return [
        _named(field, others) if sealed == ELSEWHERE or field is holder else _alone(field, keys, id, sealed)
        for field, sealed in zip(fields.sealed, stored, strict=True)
    ]


def open_values(together: Together, rows: Sequence[bytes]) -> list[Any]:
    """The values of each row that were sealed as one. Raises Unreadable."""
    try:
        return list(map(together.decode, rows))
    except msgspec.DecodeError:
        raise Unreadable from None


def _together(fields: PersonalFields, keys: SubjectKeys, id: bytes, stored: Sequence[bytes | None]) -> Any:
    """What the holder's column keeps for all; None when each keeps its own."""
    together = fields.together
    if together is None:
        return None
    sealed = stored[fields.sealed.index(together.holder)]
    if sealed is None or not sealed.startswith(TOGETHER):
        return None
    return open_values(together, [_opened(keys, together.place, id, sealed)])[0]


def _named(field: SealedField, others: Any) -> Any:
    """A value that its column says is among those that were sealed as one. Raises Unreadable."""
    value = getattr(others, field.name, None)
    if value is None:
        raise Unreadable
    return value


def _alone(field: SealedField, keys: SubjectKeys, id: bytes, sealed: bytes | None) -> Any:
    if sealed is None:
        return None
    try:
        value = _opened(keys, field.place, id, sealed)
    except Erased:
        if field.nullable:
            return None
        raise
    try:
        return value.decode() if field.text else value
    except UnicodeDecodeError:
        raise Unreadable from None


def _opened(keys: SubjectKeys, place: bytes, id: bytes, sealed: bytes) -> bytes:
    cipher = keys.by_header.get(sealed[:HEADER_BYTES])
    if cipher is not None:
        return cipher.open(place, id, sealed)
    if keys.destroyed:
        raise Erased
    raise NewerKey


def row_of(fields: PersonalFields, row: Any) -> tuple[bytes, list[bytes | None]]:
    """The id and the sealed columns of a row that was read by the columns' names, its key as `id`."""
    id: UUID = row["id"]
    return id.bytes, [row[field.name] for field in fields.sealed]
