"""What a query may do with personal columns: give whole entities, ask whether there is a value, and look it up by a blind index."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import Insert
from sqlalchemy.sql import operators

from fortress.data.columns import Field
from fortress.data.compile import GIVEN
from fortress.data.entity import Entity, entity_of, shape_of
from fortress.data.personal.fields import BlindField, PersonalFields
from fortress.errors import CannotStart

_READ_WHOLE: Final = "select the whole entity; it is opened after it was read"
_LOOK_UP: Final = "declare a blind index: Annotated[bytes, Blind(…)], and compare it with blind(…)"
_SAVE: Final = "read the entity, and write it by repository.save"


class Digests(sa.ARRAY[bytes]):
    """The type of a plain value that is compared with a blind index."""

    cache_ok = True

    def __init__(self) -> None:
        super().__init__(sa.LargeBinary())


def blind(name: str) -> Any:
    """What a blind index is compared with: the plain value that each call gives by this name.

    `User.c.email_key == blind("email")`. None is equal to nothing, as in SQL.
    """
    return sa.any_(sa.bindparam(GIVEN + name, type_=Digests()))


def check(statement: Any, selected: list[Any], into: Any) -> dict[str, BlindField]:
    """The blind indexes that this statement compares with, by the names of the values.

    Args:
        statement: as declared.
        selected: its columns.
        into: what its rows become.

    Raises:
        CannotStart: it reads, compares, sorts by or writes what can't be so.
    """
    _check_written(statement)
    for column in selected:
        entity, field = _declared(column)
        if entity is not None and field is not None and into is not entity:
            raise CannotStart(f"{_called(entity, field)} is encrypted and can't be selected by itself", hint=_READ_WHOLE)
    found: dict[str, BlindField] = {}
    for child in _parts(statement):
        _check_compared(child, found)
    return found


def _check_written(statement: Any) -> None:
    entity = entity_of(getattr(statement, "table", None))
    personal = shape_of(entity).personal if entity is not None else None
    if entity is None or personal is None:
        return
    if isinstance(statement, (sa.Insert, Insert)):
        raise CannotStart(f"{entity.__qualname__} has Personal fields", hint="add its rows by repository.add or add_all")
    values = {getattr(column, "name", column): value for column, value in (getattr(statement, "_values", None) or {}).items()}
    emptied = {name for name in personal.names & values.keys() if _is_null(values[name])}
    for name in values.keys() & (personal.names | _bound(entity, personal)) - emptied:
        raise CannotStart(f"{entity.__qualname__}.{name} can't be written by update: what is encrypted is bound to it", hint=_SAVE)
    for blind in personal.blind:
        source = shape_of(entity).fields[blind.source].name
        if (source in emptied) != (blind.name in emptied):
            raise CannotStart(f"{entity.__qualname__}.{source} and {blind.name} are emptied together", hint=f"values({source}=None, …)")


def _is_null(value: Any) -> bool:
    return isinstance(value, sa.Null) or (isinstance(value, sa.BindParameter) and not value.required and value.value is None)


def _bound(entity: type[Entity], personal: PersonalFields) -> set[str]:
    fields = shape_of(entity).fields
    return {fields[personal.key].name, fields[personal.owner].name}


def _parts(statement: Any) -> list[Any]:
    """What the statement is made of besides the columns that it gives and writes."""
    parts = list(statement.get_children())
    # SQLAlchemy has no public way to tell the columns that were listed from those that it sorts by.
    given = (*getattr(statement, "_raw_columns", ()), *getattr(statement, "_returning", ()))
    for column in (*(one for one in given if isinstance(one, sa.Column)), *(getattr(statement, "_values", None) or ())):
        place = next((index for index, part in enumerate(parts) if part is column), None)
        if place is not None:
            del parts[place]
    return parts


def _check_compared(element: Any, found: dict[str, BlindField]) -> None:
    if isinstance(element, sa.BinaryExpression) and _is_lookup(element, found):
        return
    if isinstance(element, sa.Column):
        entity, field = _declared(element)
        if entity is not None and field is not None and field.personal:
            raise CannotStart(f"{_called(entity, field)} is encrypted and can't be compared or sorted by", hint=_LOOK_UP)
    for child in element.get_children():
        _check_compared(child, found)


def _is_lookup(comparison: sa.BinaryExpression[Any], found: dict[str, BlindField]) -> bool:
    entity, field = _declared(comparison.left)
    if entity is None or field is None:
        return False
    if comparison.operator in (operators.is_, operators.is_not) and isinstance(comparison.right, sa.Null):
        return True
    if field.blind is None:
        return False
    for bind in _binds(comparison.right):
        if not isinstance(bind.type, Digests) or comparison.operator is not operators.eq:
            raise CannotStart(f"{_called(entity, field)} holds digests", hint='compare it as column == blind("name")')
        known = _blind_field(entity, field)
        name = bind.key.removeprefix(GIVEN)
        if found.setdefault(name, known) != known:
            raise CannotStart(f"blind({name!r}) is compared with two blind indexes", hint="give each a name of its own")
    return True


def _binds(element: Any) -> Iterator[sa.BindParameter[Any]]:
    if isinstance(element, sa.BindParameter):
        yield element
    for child in element.get_children():
        yield from _binds(child)


def _declared(column: Any) -> tuple[type[Entity] | None, Field | None]:
    """The entity and the personal or blind field behind a column, of whatever alias or subquery."""
    for base in getattr(column, "base_columns", ()):
        entity = entity_of(getattr(base, "table", None))
        shape = shape_of(entity) if entity is not None else None
        if shape is not None and shape.personal is not None and base.name in shape.personal.names:
            return entity, shape.field(base.name)
    return None, None


def _blind_field(entity: type[Entity], field: Field) -> BlindField:
    personal = shape_of(entity).personal
    return next(one for one in (personal.blind if personal else ()) if one.name == field.name)


def _called(entity: type[Entity], field: Field) -> str:
    return f"{entity.__qualname__}.{field.name}"
