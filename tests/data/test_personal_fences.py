"""What can't be done with what is encrypted stops the start, and says what to do instead."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any
from uuid import UUID

import pytest
from tests.data.people import Human, Letter

from fortress.data import (
    Blind,
    CreatedAt,
    Default,
    Entity,
    Key,
    Owner,
    OwnKey,
    Personal,
    and_,
    any_,
    blind,
    change,
    delete,
    exists,
    func,
    insert,
    many,
    one,
    page,
    param,
    select,
    update,
)
from fortress.data.entity import shape_of
from fortress.errors import CannotStart

C = Human.c
REFUSED: dict[str, tuple[str, Callable[[], Any]]] = {
    "selected alone": ("Human.email is encrypted and can't be selected", lambda: many(select(C.email), into=bytes)),
    "selected with others": ("selected by itself", lambda: many(select(C.id, C.name), into=tuple)),
    "selected in a subquery": ("can't be compared", lambda: many(select(Letter.c.id).where(exists(select(C.name))), into=UUID)),
    "selected by an alias": ("selected by itself", lambda: one(select(Human.table.alias("h").c.email), into=bytes)),
    "selected in an expression": ("can't be compared", lambda: one(select(func.length(C.email)), into=int)),
    "a digest selected": ("Human.email_key is encrypted", lambda: many(select(C.email_key), into=bytes)),
    "compared": ("can't be compared", lambda: one(select(Human).where(C.email == param("email")))),
    "compared within": ("can't be compared", lambda: one(select(Human).where(and_(C.points > 1, C.name > param("name"))))),
    "compared in a join": (
        "can't be compared",
        lambda: many(select(Letter).join_from(Letter.table, Human.table, Letter.c.title == C.name)),
    ),
    "compared with itself": ("can't be compared", lambda: many(select(Human).where(C.name.is_(C.email)))),
    "compared with any": ("can't be compared", lambda: many(select(Human).where(C.email == any_(param("emails", list[str]))))),
    "sorted by": ("can't be compared or sorted by", lambda: many(select(Human).order_by(C.email))),
    "sorted by, listed": ("can't be compared or sorted by", lambda: many(select(*C).order_by(C.email), into=Human)),
    "a page": ("can't be compared or sorted by", lambda: page(select(Human), newest_first=C.email)),
    "a digest compared with a plain value": ("holds digests", lambda: one(select(Human).where(C.email_key == param("email")))),
    "a digest compared otherwise": ("holds digests", lambda: one(select(Human).where(C.email_key != blind("email")))),
    "one value for two indexes": (
        "two blind indexes",
        lambda: one(select(Human).where(C.email_key == blind("x"), C.name_key == blind("x"))),
    ),
    "inserted": ("has Personal fields", lambda: change(insert(Human).values(id=param("id")))),
    "written": ("can't be written by update", lambda: change(update(Human).values(email=param("email")))),
    "written from another": ("can't be written by update", lambda: change(update(Human).values(name=C.email))),
    "a digest written": ("can't be written by update", lambda: change(update(Human).values(email_key=param("key")))),
    "its owner written": ("can't be written by update", lambda: change(update(Letter).values(human_id=param("human")))),
    "emptied and still found": ("are emptied together", lambda: change(update(Human).values(name=None))),
    "there and not found": ("are emptied together", lambda: change(update(Human).values(name_key=None))),
    "read into another column": ("can't be compared", lambda: change(update(Letter).values(title=Letter.c.text))),
    "removed by": ("can't be compared", lambda: change(delete(Human).where(C.name == param("name")))),
    "returned alone": ("selected by itself", lambda: change(delete(Human).returning(C.id, C.name), into=tuple)),
}


@pytest.mark.parametrize(("said", "declare"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_done_is_refused(said: str, declare: Callable[[], Any]) -> None:
    with pytest.raises(CannotStart, match=said) as caught:
        declare()
    assert caught.value.hint


def test_what_can_be_done_is_done() -> None:
    many(select(Human).where(C.name.is_not(None), C.name_key == blind("name")).order_by(C.points))
    many(select(*C), into=Human)
    many(select(select(Human).cte("some")), into=Human)
    many(select(Letter.c.id).where(exists(select(C.id).where(C.id == Letter.c.human_id, C.email_key == blind("email")))), into=UUID)
    change(update(Human).where(C.email_key == blind("email")).values(name=None, name_key=None, points=1).returning(*C))
    change(delete(Human).where(C.id == param("id")))


def entity(**fields: Any) -> type[Entity]:
    namespace = {"__tablename__": "things", "__annotations__": {name: kind for name, (kind, *_) in fields.items()}, "__module__": __name__}
    defaults = {name: rest[0] for name, (_, *rest) in fields.items() if rest}
    metaclass: Any = type(Entity)
    made: type[Entity] = metaclass("Thing", (Entity,), namespace | defaults, frozen=True)
    return made


OWN = {"id": (OwnKey,)}
Nullable = Personal[str | None]
UNSOUND: dict[str, tuple[str, dict[str, Any]]] = {
    "nobody's": ("no Owner", {"id": (Key,), "name": (Personal[str],)}),
    "a number": ("only str, bytes", OWN | {"age": (Personal[int],)}),
    "an id": ("only str, bytes", OWN | {"names": (Personal[UUID],)}),
    "with a default": ("only str, bytes", OWN | {"name": (Personal[Annotated[str, Default("''")]],)}),
    "an index of nothing": ("not of 'email'", OWN | {"name": (Personal[str],), "key": (Annotated[bytes, Blind("email")], b"")}),
    "an index of what is plain": ("not of 'email'", OWN | {"email": (str,), "key": (Annotated[bytes, Blind("email")], b"")}),
    "an index of text": ("is bytes", OWN | {"name": (Personal[str],), "key": (Annotated[str, Blind("name")], "")}),
    "an index without default": ('bytes = b""', OWN | {"name": (Personal[str],), "key": (Annotated[bytes, Blind("name")],)}),
    "an index that must be there": (
        "bytes | None = None",
        OWN | {"name": (Nullable,), "key": (Annotated[bytes, Blind("name")], b"")},
    ),
    "a normal form of bytes": ("only text", OWN | {"name": (Personal[bytes],), "key": (Annotated[bytes, Blind("name", str)], b"")}),
}


@pytest.mark.parametrize(("said", "fields"), UNSOUND.values(), ids=UNSOUND.keys())
def test_an_unsound_entity_is_refused(said: str, fields: dict[str, Any]) -> None:
    with pytest.raises(CannotStart, match=said):
        shape_of(entity(**fields))


def test_a_personal_column_is_bytes_without_check() -> None:
    shape = shape_of(Human)
    assert str(shape.table.c.email.type) == "BLOB"
    assert [part for part in shape.table.constraints if "check" in type(part).__name__.lower()] == []
    assert shape.personal is not None
    assert [field.name for field in shape.personal.sealed] == ["email", "name", "face"]
    assert shape_of(entity(id=(Key,), of=(Owner,), at=(CreatedAt,))).personal is None
