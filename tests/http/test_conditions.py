"""Entity tags as they are written, and routes that insist on them."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fortress import Domain, Fortress
from fortress.data import Entity, Expected, Key, Version
from fortress.domains import standard
from fortress.errors import BrokenRules
from fortress.http import PUBLIC, per_minute, put
from fortress.http.conditions import MOST_TAGS, read_tags
from fortress.settings import Settings
from fortress.testing.client import Client
from shop.orders.manifest import orders


class Thing(Entity, frozen=True):
    __tablename__ = "things"
    id: Key
    version: Version


OPAQUE = st.text(st.characters(min_codepoint=0x21, max_codepoint=0xFF, exclude_characters='"\x7f', categories=None), max_size=8).filter(
    lambda text: all(character == "!" or 0x23 <= ord(character) <= 0x7E or ord(character) >= 0x80 for character in text)
)
TAGS = st.builds(lambda weak, text: weak + b'"' + text.encode("latin-1") + b'"', st.sampled_from([b"", b"W/"]), OPAQUE)


@given(st.lists(TAGS, min_size=1, max_size=MOST_TAGS), st.sampled_from([b",", b", ", b" ,\t"]))
def test_a_list_of_tags_is_read_back(tags: list[bytes], between: bytes) -> None:
    assert read_tags(between.join(tags)) == tags


@given(st.binary(max_size=60))
def test_whatever_is_sent_is_read_or_refused(value: bytes) -> None:
    tags = read_tags(value)
    assert tags is None or all(tag.endswith(b'"') and len(tag) >= 2 for tag in tags)


def test_so_many_tags_and_no_more() -> None:
    assert read_tags(b",".join([b'"a"'] * MOST_TAGS)) is not None
    assert read_tags(b",".join([b'"a"'] * (MOST_TAGS + 1))) is None


@put("/things/{thing_id:uuid}", allow=PUBLIC, limit=per_minute(60), precondition=True)
async def replace_thing(thing_id: UUID, expected: Expected) -> None:
    """Replace the thing, which is at its second version."""
    del thing_id
    expected.of(Thing(UUID(int=1), 2))


@put("/things/{thing_id:uuid}", allow=PUBLIC, limit=per_minute(60), precondition=True)
async def replace_blindly(thing_id: UUID) -> None:
    """Look away."""


async def test_where_lost_updates_matter_a_change_says_what_it_has_seen(settings: Settings) -> None:
    app = Fortress(domains=[*standard, orders, Domain("things", routes=[replace_thing])], version=2).with_settings(settings)
    await app.start()
    try:
        client, path = Client(app), f"/things/{UUID(int=1)}"
        found = [await client.put(path, headers=given) for given in ({}, {"if-match": '"1"'}, {"if-match": '"2"'}, {"if-match": "*"})]
    finally:
        await app.stop()
    assert [one.status for one in found] == [428, 412, 204, 204]
    assert found[0].code == "precondition.required"
    assert "ETag" in found[0].json()["detail"]


def test_a_route_that_asks_for_if_match_has_to_look_at_it() -> None:
    with pytest.raises(BrokenRules) as refused:
        Fortress(domains=[*standard, Domain("things", routes=[replace_blindly])]).assemble()
    (breach,) = refused.value.breaches
    assert (breach.rule, "asks for If-Match and does not look at it" in breach.what) == ("API004", True)
