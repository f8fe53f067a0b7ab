"""Reading what is personal: rows as they are kept become rows of plain values, column by column."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import repeat
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from fortress.data.personal.cache import SubjectKeys
from fortress.data.personal.datakeys import Erased
from fortress.data.personal.fields import PersonalFields, SealedField
from fortress.security.sealing import HEADER_BYTES
from fortress.security.wrapping import Unreadable

if TYPE_CHECKING:
    from fortress.data.reader import Reader

_NOBODY: Final = SubjectKeys((), destroyed=False)

Columns = list[Any]
Keys = Mapping[UUID, SubjectKeys]


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
        people = self._people(columns)
        try:
            keys, missing = reader.ready_keys(people)
            if missing:
                keys |= await reader.personal.data.load(missing)
            try:
                return self._open(columns, keys)
            except _NewerKey:
                # Another process made another version of somebody's key since we looked.
                return self._open_at_last(columns, keys | await reader.personal.data.load(people))
        except Unreadable:
            reader.personal.alarm(self._fields.table, columns[self._fields.key])
            raise

    def _people(self, columns: Columns) -> list[UUID]:
        """Whose keys are needed."""
        owners = columns[self._fields.owner]
        needed: dict[UUID, None] = {}
        for field in self._fields.sealed:
            needed |= {owner: None for owner, value in zip(owners, columns[field.index], strict=True) if value is not None}
        return list(needed)

    def _open_at_last(self, columns: Columns, keys: Keys) -> list[tuple[Any, ...]]:
        try:
            return self._open(columns, keys)
        except _NewerKey:
            raise Unreadable from None

    def _open(self, columns: Columns, keys: Keys) -> list[tuple[Any, ...]]:
        plain = list(columns)
        ids = [id.bytes for id in columns[self._fields.key]]
        held = [keys.get(owner, _NOBODY) for owner in columns[self._fields.owner]]
        for field in self._fields.sealed:
            plain[field.index] = _opened(field, ids, held, columns[field.index])
        for blind in self._fields.blind:
            plain[blind.index] = repeat(blind.empty, len(ids))
        return list(zip(*plain, strict=True))


class _NewerKey(Exception):
    """A value was sealed by a version of its person's key that we don't hold."""


def _opened(field: SealedField, ids: Sequence[bytes], held: Sequence[SubjectKeys], column: Sequence[bytes | None]) -> list[Any]:
    place, text = field.place, field.text
    values: list[Any] = []
    for id, keys, sealed in zip(ids, held, column, strict=True):
        if sealed is None:
            values.append(None)
            continue
        cipher = keys.by_header.get(sealed[:HEADER_BYTES])
        if cipher is not None:
            value = cipher.open(place, id, sealed)
            values.append(value.decode() if text else value)
        elif not keys.destroyed:
            raise _NewerKey
        elif field.nullable:
            values.append(None)
        else:
            raise Erased
    return values
