"""Links that end mails of one kind without signing in (RFC 8058)."""

from __future__ import annotations

import pytest
from tests.domains.conftest import World

from fortress.domains.notifications.contract import BrokenLink
from fortress.domains.notifications.service import Links
from fortress.domains.notifications.service.digest import DIGEST
from fortress.security.encoding import from_base64url, to_base64url


async def test_a_link_says_whose_it_is_and_of_what(world: World) -> None:
    person = await world.somebody()
    links = world.get(Links)
    assert links.read(links.token(person, DIGEST)) == (person, DIGEST)


@pytest.mark.parametrize("place", [0, 20, -1], ids=["person", "mac", "kind"])
async def test_a_link_that_was_changed_is_broken(world: World, place: int) -> None:
    links = world.get(Links)
    whole = bytearray(from_base64url(links.token(await world.somebody(), DIGEST)))
    whole[place] ^= 1
    with pytest.raises(BrokenLink):
        links.read(to_base64url(bytes(whole)))


@pytest.mark.parametrize("text", ["", "x", "A" * 100, "ä", "AAAA===="])
async def test_what_is_no_link_is_broken(world: World, text: str) -> None:
    with pytest.raises(BrokenLink):
        world.get(Links).read(text)
