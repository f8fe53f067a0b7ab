"""Reading what is personal: rows as they are kept become rows of plain values, column by column."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import repeat
from operator import add, attrgetter, call, itemgetter
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from cryptography.exceptions import InvalidTag

from fortress.data.personal.cache import NOBODY, SubjectKeys
from fortress.data.personal.fields import PersonalFields, Together
from fortress.data.personal.sealedrows import ELSEWHERE, NewerKey, open_values, opened_row
from fortress.security.sealing import BODY, HEADER_BYTES, ValueCipher
from fortress.security.wrapping import Unreadable

if TYPE_CHECKING:
    from fortress.data.reader import Reader

# One of these for a whole column costs less than a slice for each value.
_header: Final = itemgetter(slice(0, HEADER_BYTES))
_nonce: Final = itemgetter(slice(HEADER_BYTES, BODY))
_body: Final = itemgetter(slice(BODY, None))
_bytes: Final = attrgetter("bytes")
_MARKS: Final = frozenset({ELSEWHERE, None})

Columns = list[Any]
Decrypt = Callable[[bytes, bytes, bytes], bytes]


class Opener:
    """Opens rows of one entity."""

    __slots__ = ("_fields",)

    def __init__(self, fields: PersonalFields) -> None:
        self._fields = fields

    async def opened(self, reader: Reader, rows: Sequence[Iterable[Any]]) -> Columns:
        """These rows' columns in plain values; none of no rows.

        Asks the database only for keys that are not at hand, for all rows in one query.

        Raises:
            Erased: a value that must be there belongs to somebody whose data was erased; where None is allowed it is None.
            Unreadable: a value was tampered with or moved, or its key is gone.
            Unavailable: the keys can't be had just now.
        """
        if not rows:
            return []
        columns: Columns = list(zip(*rows, strict=True))
        held = reader.all_keys(list(map(_bytes, columns[self._fields.owner]))) or await self._held(reader, columns, anew=False)
        try:
            return self._open(columns, held)
        except NewerKey:
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
        return [keys.get(owner, NOBODY) for owner in columns[self._fields.owner]]

    def _people(self, columns: Columns) -> list[UUID]:
        """Whose keys are needed."""
        owners = columns[self._fields.owner]
        needed: dict[UUID, None] = {}
        for field in self._fields.sealed:
            needed |= {owner: None for owner, value in zip(owners, columns[field.index], strict=True) if value is not None}
        return list(needed)

    def _open_at_last(self, reader: Reader, columns: Columns, held: Sequence[SubjectKeys]) -> Columns:
        try:
            return self._open(columns, held)
        except (NewerKey, Unreadable):
            reader.personal.alarm(self._fields.table, columns[self._fields.key])
            raise Unreadable from None

    def _open(self, columns: Columns, held: Sequence[SubjectKeys]) -> Columns:
        plain = list(columns)
        ids = list(map(_bytes, columns[self._fields.key]))
        sealed = [columns[field.index] for field in self._fields.sealed]
        for field, values in zip(self._fields.sealed, _opened(self._fields, ids, held, sealed), strict=True):
            plain[field.index] = values
        for blind in self._fields.blind:
            plain[blind.index] = repeat(blind.empty, len(held))
        return plain


def _opened(
    fields: PersonalFields, ids: Sequence[bytes], held: Sequence[SubjectKeys], sealed: Sequence[Sequence[Any]]
) -> Sequence[Sequence[Any]]:
    """The sealed columns in plain values. Raises NewerKey, Erased and Unreadable."""
    latest = [keys.latest for keys in held]
    if None not in latest:
        opened = _at_once(fields, ids, latest, sealed)  # type: ignore[arg-type]  # None was looked for
        if opened is not None:
            return opened
    rows = [opened_row(fields, keys, id, stored) for keys, id, stored in zip(held, ids, zip(*sealed, strict=True), strict=True)]
    return list(zip(*rows, strict=True))


def _at_once(
    fields: PersonalFields, ids: Sequence[bytes], ciphers: Sequence[ValueCipher], sealed: Sequence[Sequence[Any]]
) -> Sequence[Sequence[Any]] | None:
    """As `_opened`, where everything is as it usually is: sealed by the newest keys. None where it is not."""
    bound = list(map(add, ids, [cipher.tail for cipher in ciphers]))
    decrypt = [cipher.decrypt for cipher in ciphers]
    if fields.together is not None:
        headers = [cipher.together for cipher in ciphers]
        return _together(fields, fields.together, headers, decrypt, bound, sealed)
    headers = [cipher.header for cipher in ciphers]
    if any(None in column or list(map(_header, column)) != headers for column in sealed):
        return None
    columns = [_decrypted(field.place, decrypt, bound, column) for field, column in zip(fields.sealed, sealed, strict=True)]
    return [_text(values) if field.text else values for field, values in zip(fields.sealed, columns, strict=True)]


def _together(
    fields: PersonalFields,
    together: Together,
    headers: Sequence[bytes],
    decrypt: Sequence[Decrypt],
    bound: Sequence[bytes],
    sealed: Sequence[Sequence[Any]],
) -> Sequence[Sequence[Any]] | None:
    holder = fields.sealed.index(together.holder)
    marks = [column for place, column in enumerate(sealed) if place != holder]
    if list(map(_header, sealed[holder])) != headers or not all(_MARKS.issuperset(column) for column in marks):
        return None
    rows = open_values(together, _decrypted(together.place, decrypt, bound, sealed[holder]))
    return [_named(field.name, rows, column) for field, column in zip(fields.sealed, sealed, strict=True)]


def _named(name: str, rows: Sequence[Any], column: Sequence[bytes | None]) -> list[Any]:
    """What stands under this name, where its column says that something does."""
    values = list(map(attrgetter(name), rows))
    missing = column.count(None)
    if missing:
        values = [None if stored is None else value for stored, value in zip(column, values, strict=True)]
    if values.count(None) != missing:
        raise Unreadable
    return values


def _decrypted(place: bytes, decrypt: Sequence[Decrypt], bound: Sequence[bytes], column: Sequence[bytes]) -> list[bytes]:
    # Without a line of Python for each value: this is where a page of people spends its time.
    try:
        return list(map(call, decrypt, map(_nonce, column), map(_body, column), map(add, repeat(place), bound)))
    except (InvalidTag, ValueError):
        raise Unreadable from None


def _text(values: Sequence[bytes]) -> list[str]:
    try:
        return list(map(bytes.decode, values))
    except UnicodeDecodeError:
        raise Unreadable from None
