"""Writing what is personal: rows of plain values become rows as they are kept, with the keys of people who had none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

import msgspec

from fortress.data.entity import Entity, shape_of
from fortress.data.personal.cache import SubjectKeys
from fortress.data.personal.datakeys import Erased
from fortress.data.personal.fields import BlindField, PersonalFields
from fortress.data.personal.sealedrows import sealed_row
from fortress.data.personal.tables import DataKeyRow
from fortress.errors import Refusal
from fortress.security.sealing import ValueCipher

if TYPE_CHECKING:
    from fortress.data.personal.vault import Personal

E = TypeVar("E", bound=Entity)


class Guard(msgspec.Struct, frozen=True):
    """A unique value while its index has several keys: two rows of it differ in their digests, so the index sees no second one.

    Whoever writes the value takes one lock for it, and looks for it under every key. Everybody knows all keys before the first
    row is indexed by a new one, so all take the same lock.
    """

    fields: PersonalFields
    blind: BlindField
    taken: type[Refusal]
    row: UUID
    digests: list[bytes]

    @property
    def lock(self) -> int:
        return int.from_bytes(self.digests[0][:8], "big", signed=True)

    @property
    def sql(self) -> str:
        key = self.fields.columns[self.fields.key]
        return f'SELECT 1 FROM "{self.fields.table}" WHERE "{self.blind.name}" = ANY($1) AND "{key}" <> $2 LIMIT 1'  # noqa: S608 - our own names


class Writer:
    """What one unit of work writes of personal data.

    Attributes:
        made: the keys that the unit makes; in force for others once it is committed.
        guards: what must not be there already, where a unique index can't tell; the unit asks before it writes.
        stamp: of the moment before the first of them was made.
    """

    __slots__ = ("_personal", "guards", "made", "stamp")

    def __init__(self, personal: Personal) -> None:
        self._personal = personal
        self.made: dict[UUID, SubjectKeys] = {}
        self.guards: list[Guard] = []
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
        given = [plain[field.index] for field in fields.sealed]
        if any(value is not None for value in given):
            kept = sealed_row(fields, _cipher(keys[plain[fields.owner]]), id, given)
            for field, value in zip(fields.sealed, kept, strict=True):
                stored[field.index] = value
        for blind in fields.blind:
            value = plain[blind.source]
            if value is None:
                stored[blind.index] = None
                continue
            digests, stored[blind.index] = self._personal.indexes.digests(blind, value), self._personal.indexes.digest(blind, value)
            if blind.taken is not None and len(digests) > 1:
                self.guards.append(Guard(fields, blind, blind.taken, plain[fields.key], digests))
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


def _cipher(keys: SubjectKeys) -> ValueCipher:
    if keys.destroyed or keys.latest is None:
        raise Erased
    return keys.latest
