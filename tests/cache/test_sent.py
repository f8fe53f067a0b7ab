"""What is sent of a kept answer is made once; of everything else, each time."""

from __future__ import annotations

import msgspec
from tests.cache.test_shelf import Here

from fortress.cache.shelf import KEPT
from fortress.data import Page
from fortress.http.answers import render_json


class Point(msgspec.Struct, frozen=True):
    x: int


async def test_a_kept_answer_is_encoded_once_for_as_long_as_it_is_kept() -> None:
    here = Here()
    here.origin.value = Page((Point(1),), None)
    page = await here.ask()
    first = render_json(page).body
    assert first == b'{"items":[{"x":1}],"next":null}'
    assert render_json(page).body is first
    same = Page((Point(1),), None)
    assert render_json(same).body == first
    assert render_json(same).body is not first
    here.shelf.forget(None)
    assert render_json(page).body is not first
    assert id(page) not in KEPT


async def test_what_goes_of_its_own_leaves_nothing() -> None:
    before = len(KEPT)
    here = Here(most=2)
    for number in range(10):
        here.origin.value = Point(number)
        assert render_json(await here.ask(b"%d" % number)).body == b'{"x":%d}' % number
    assert len(KEPT) == before + 2
    here.shelf.forget(None)
    assert len(KEPT) == before
