from __future__ import annotations

import re
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fortress.security.apikeys import PresentedKey, _with_checksum, new_api_key, read_api_key
from fortress.security.encoding import BASE62
from fortress.security.refusals import InvalidToken


@given(st.uuids())
def test_a_new_key_is_read_and_matches_its_hash(id: UUID) -> None:
    made = new_api_key(id)
    read = read_api_key(made.text)
    assert read.id == id
    assert read.matches(made.digest)
    assert made.text.startswith(made.prefix + "_")


def test_a_key_has_the_form_that_scanners_look_for() -> None:
    assert re.fullmatch(r"fort_[0-9A-Za-z]{22}_[0-9A-Za-z]{38}", new_api_key(uuid4()).text)


def test_two_keys_of_one_row_differ_and_do_not_match_each_other() -> None:
    id = uuid4()
    first, second = new_api_key(id), new_api_key(id)
    assert first.text != second.text
    assert not read_api_key(first.text).matches(second.digest)


def test_an_unknown_id_matches_nothing() -> None:
    read = read_api_key(new_api_key(uuid4()).text)
    assert not read.matches(None)
    assert not read.matches(b"")
    assert not PresentedKey(read.id, bytes(32)).matches(None)


@given(st.data())
def test_one_changed_letter_fails_the_checksum(data: st.DataObject) -> None:
    text = new_api_key(UUID(int=7)).text
    place = data.draw(st.integers(0, len(text) - 1))
    changed = text[:place] + data.draw(st.sampled_from(BASE62 + "_-é\n")) + text[place + 1 :]
    if changed != text:
        with pytest.raises(InvalidToken):
            read_api_key(changed)


@given(st.text(max_size=100))
def test_noise_is_refused(text: str) -> None:
    with pytest.raises(InvalidToken):
        read_api_key(text)


def test_an_id_beyond_128_bits_is_refused() -> None:
    with pytest.raises(InvalidToken):
        read_api_key(_with_checksum("fort_" + "z" * 22 + "_" + "a" * 32))


def test_the_text_is_not_shown() -> None:
    made = new_api_key(uuid4())
    secret = made.text.removeprefix(made.prefix)
    assert secret not in repr(made)
    assert secret not in repr(made.__rich_repr__())
