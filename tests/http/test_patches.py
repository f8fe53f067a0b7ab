"""Merge patches with a model: what RFC 7396 says of JSON, said of rows."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from fortress.http import Patch


class Place(msgspec.Struct, frozen=True):
    """Where somebody lives."""

    city: str | None
    street: str | None


class Person(msgspec.Struct, frozen=True):
    """Somebody."""

    name: str | None
    tags: list[str] | None
    place: Place | None


class ChangePlace(Patch):
    """Of it what came."""

    city: str | None = None
    street: str | None = None


class ChangePerson(Patch):
    """Of them what came."""

    name: str | None = None
    tags: list[str] | None = None
    place: ChangePlace | None = None


TEXT = st.none() | st.text(max_size=5)
PLACES = st.builds(Place, TEXT, TEXT)
PEOPLE = st.builds(Person, TEXT, st.none() | st.lists(st.text(max_size=3), max_size=3), PLACES)
PATCHES = st.fixed_dictionaries(
    {},
    optional={
        "name": TEXT,
        "tags": st.none() | st.lists(st.text(max_size=3), max_size=3),
        "place": st.none() | st.fixed_dictionaries({}, optional={"city": TEXT, "street": TEXT}),
    },
)


def merged(target: Any, patch: Any) -> Any:
    """MergePatch of RFC 7396 §2, but that an absent member is null, as it is in a row."""
    if not isinstance(patch, dict):
        return patch
    return target | {name: merged(target[name], value) for name, value in patch.items()}


@given(PEOPLE, PATCHES)
def test_a_patch_does_what_the_rfc_says(person: Person, sent: dict[str, Any]) -> None:
    read: BaseModel = ChangePerson.model_validate_json(json.dumps(sent))
    assert isinstance(read, ChangePerson)
    assert msgspec.to_builtins(read.onto(person)) == merged(msgspec.to_builtins(person), sent)


def test_what_is_absent_stays_and_null_takes_away() -> None:
    person = Person("Ann", ["a"], Place("Rome", "Via Appia"))
    assert ChangePerson.model_validate_json("{}").onto(person) == person
    assert ChangePerson.model_validate_json('{"name": null}').onto(person).name is None
    assert ChangePerson.model_validate_json('{"place": {"street": null}}').onto(person).place == Place("Rome", None)
