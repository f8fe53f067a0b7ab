"""Reading what is personal: rows as they are kept become rows of plain values, column by column."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import repeat
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from cryptography.exceptions import InvalidTag

from fortress.data.personal.cache import SubjectKeys
from fortress.data.personal.datakeys import Erased
from fortress.data.personal.fields import PersonalFields, SealedField
from fortress.security.sealing import BODY, HEADER_BYTES
from fortress.security.wrapping import Unreadable

if TYPE_CHECKING:
    from fortress.data.reader import Reader

_NOBODY: Final = SubjectKeys((), destroyed=False)

Columns = list[Any]
Row = tuple[bytes, Any, bytes, bytes, SubjectKeys]


class Opener:
    """Opens rows of one entity."""

    __slots__ = ("_fields",)

    def __init__(self, fields: PersonalFields) -> None:
        self._fields = fields

    async def opened(self, reader: Reader, rows: Sequence[Iterable[Any]]) -> list[tuple[Any, ...]]:
        """These rows in plain values. Asks the database only for keys that are not at hand, for all rows in one query.

        Raises:
            Erased: a value that must be there belongs to somebody whose data was erased; where None is allowed it is None.
            Unreadable: a value was tampered with or moved, or its key is gone.
            Unavailable: the keys can't be had just now.
        """
        if not rows:
            return []
        columns: Columns = list(zip(*rows, strict=True))
        held = reader.all_keys(columns[self._fields.owner]) or await self._held(reader, columns, anew=False)
        try:
            return self._open(columns, held)
        except _NewerKey:
            # Another process made another version of somebody's key since we looked.
            held = await self._held(reader, columns, anew=True)
        except Unreadable:
            reader.personal.alarm(self._fields.table, columns[self._fields.key])
            raise
        return self._open_at_last(reader, columns, held)

    async def _held(self, reader: Reader, columns: Columns, *, anew: bool) -> list[SubjectKeys]:
        """The keys of each row's owner; `anew`: as the database has them now."""
        people = self._people(columns)
        keys, missing = reader.ready_keys(people)
        if anew or missing:
            keys |= await reader.personal.data.load(people if anew else missing)
        return [keys.get(owner, _NOBODY) for owner in columns[self._fields.owner]]

    def _people(self, columns: Columns) -> list[UUID]:
        """Whose keys are needed."""
        owners = columns[self._fields.owner]
        needed: dict[UUID, None] = {}
        for field in self._fields.sealed:
            needed |= {owner: None for owner, value in zip(owners, columns[field.index], strict=True) if value is not None}
        return list(needed)

    def _open_at_last(self, reader: Reader, columns: Columns, held: Sequence[SubjectKeys]) -> list[tuple[Any, ...]]:
        try:
            return self._open(columns, held)
        except (_NewerKey, Unreadable):
            reader.personal.alarm(self._fields.table, columns[self._fields.key])
            raise Unreadable from None

    def _open(self, columns: Columns, held: Sequence[SubjectKeys]) -> list[tuple[Any, ...]]:
        plain = list(columns)
        rows = [_row(id.bytes, one) for id, one in zip(columns[self._fields.key], held, strict=True)]
        for field in self._fields.sealed:
            plain[field.index] = _opened(field, rows, columns[field.index])
        for blind in self._fields.blind:
            plain[blind.index] = repeat(blind.empty, len(rows))
        return list(zip(*plain, strict=True))


class _NewerKey(Exception):
    """A value was sealed by a version of its person's key that we don't hold."""


def _row(id: bytes, keys: SubjectKeys) -> Row:
    """What opens a row: the header of the newest version, what decrypts by it, and what is bound to values beside their place."""
    latest = keys.latest
    return (latest.header, latest.decrypt, id + latest.tail, id, keys) if latest else (b"", None, b"", id, keys)


def _opened(field: SealedField, rows: Sequence[Row], column: Sequence[bytes | None]) -> list[Any]:
    # One comprehension without a call of ours in it: this is where a page of rows spends its time.
    place = field.place
    try:
        values = [
            None
            if sealed is None
            else decrypt(sealed[HEADER_BYTES:BODY], sealed[BODY:], place + bound)
            if sealed[:HEADER_BYTES] == header
            else _otherwise(field, id, keys, sealed)
            for (header, decrypt, bound, id, keys), sealed in zip(rows, column, strict=True)
        ]
    except (InvalidTag, ValueError):
        raise Unreadable from None
    return [None if value is None else value.decode() for value in values] if field.text else values


def _otherwise(field: SealedField, id: bytes, keys: SubjectKeys, sealed: bytes) -> bytes | None:
    """A value that the newest version did not seal."""
    cipher = keys.by_header.get(sealed[:HEADER_BYTES])
    if cipher is not None:
        return cipher.open(field.place, id, sealed)
    if not keys.destroyed:
        raise _NewerKey
    if not field.nullable:
        raise Erased
    return None
