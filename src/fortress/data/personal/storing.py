"""Writing what is personal: rows of plain values become rows as they are kept, with the keys of people who had none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

import msgspec

from fortress.data.entity import Entity, shape_of
from fortress.data.personal.cache import SubjectKeys
from fortress.data.personal.datakeys import Erased
from fortress.data.personal.fields import PersonalFields
from fortress.data.personal.tables import DataKeyRow

if TYPE_CHECKING:
    from fortress.data.personal.vault import Personal

E = TypeVar("E", bound=Entity)


class Writer:
    """What one unit of work writes of personal data.

    Attributes:
        made: the keys that the unit makes; in force for others once it is committed.
        stamp: of the moment before the first of them was made.
    """

    __slots__ = ("_personal", "made", "stamp")

    def __init__(self, personal: Personal) -> None:
        self._personal = personal
        self.made: dict[UUID, SubjectKeys] = {}
        self.stamp = personal.data.stamp()

    async def added(self, rows: Sequence[Entity]) -> list[Entity]:
        """New rows as they are kept, and the rows of new keys.

        Raises:
            Erased: one of them is about somebody whose data was erased.
            Unavailable: a key can't be had just now.
        """
        whole = [(row, shape_of(type(row)).personal) for row in rows]
        new: list[DataKeyRow] = []
        keys = await self._keys([(row, fields) for row, fields in whole if fields], new, adding=True)
        stored = [row if fields is None else self._stored(row, fields, keys) for row, fields in whole]
        return [*new, *stored]

    async def saved(self, row: E, fields: PersonalFields) -> tuple[E, list[DataKeyRow]]:
        """A changed row as it is kept, and the rows of new keys. Raises as `added`."""
        new: list[DataKeyRow] = []
        keys = await self._keys([(row, fields)], new, adding=False)
        return self._stored(row, fields, keys), new

    async def _keys(self, rows: Sequence[tuple[Entity, PersonalFields]], new: list[DataKeyRow], *, adding: bool) -> dict[UUID, SubjectKeys]:
        await self._personal.indexes.ready({blind.purpose for _, fields in rows for blind in fields.blind})
        people = _people(rows)
        keys = {person: self.made[person] for person in people if person in self.made}
        ready, missing = self._personal.data.ready(person for person in people if person not in keys)
        keys |= ready
        unknown = [person for person in missing if not (adding and people[person] and self._personal.data.surely_new(person))]
        if unknown:
            keys |= await self._personal.data.load(unknown)
        for person in people:
            if person not in keys:
                row, keys[person] = await self._personal.data.make(person)
                self.made[person] = keys[person]
                new.append(row)
        return keys

    def _stored(self, row: E, fields: PersonalFields, keys: dict[UUID, SubjectKeys]) -> E:
        plain = msgspec.structs.astuple(row)
        stored = list(plain)
        id: bytes = plain[fields.key].bytes
        for field in fields.sealed:
            value = plain[field.index]
            if value is not None:
                stored[field.index] = _cipher(keys[plain[fields.owner]]).seal(field.place, id, field.plain(value))
        for blind in fields.blind:
            value = plain[blind.source]
            stored[blind.index] = None if value is None else self._personal.indexes.digest(blind, value)
        return type(row)(*stored)


def _people(rows: Sequence[tuple[Entity, PersonalFields]]) -> dict[UUID, bool]:
    """Whose keys are needed; True: their own row is among these, so that they are new."""
    people: dict[UUID, bool] = {}
    for row, fields in rows:
        values: Any = msgspec.structs.astuple(row)
        if any(values[field.index] is not None for field in fields.sealed):
            owner = values[fields.owner]
            people[owner] = people.get(owner, False) or fields.key == fields.owner
    return people


def _cipher(keys: SubjectKeys) -> Any:
    if keys.destroyed or keys.latest is None:
        raise Erased
    return keys.latest
