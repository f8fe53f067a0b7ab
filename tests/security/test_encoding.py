from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fortress.security.encoding import BASE62, from_base62, from_base64url, to_base62, to_base64url


@given(st.binary(max_size=200))
def test_base64url_comes_back_as_it_went(value: bytes) -> None:
    assert from_base64url(to_base64url(value)) == value


@given(st.text(alphabet=st.characters(max_codepoint=0x17F), max_size=40))
def test_what_base64url_accepts_has_one_spelling(text: str) -> None:
    try:
        value = from_base64url(text)
    except ValueError:
        return
    assert to_base64url(value) == text


@pytest.mark.parametrize("text", ["QQ==", "QR", "Q", "Q+", "Q/", "QQ\n", " QQ", "QUI=", "é", "QQ="])
def test_other_spellings_of_base64url_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="base64url"):
        from_base64url(text)


@given(st.integers(min_value=0, max_value=2**128 - 1))
def test_base62_comes_back_as_it_went(number: int) -> None:
    text = to_base62(number, 22)
    assert len(text) == 22
    assert from_base62(text) == number


@pytest.mark.parametrize(("number", "width"), [(62, 1), (-1, 5), (2**128, 21)])
def test_a_number_that_does_not_fit_is_refused(number: int, width: int) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        to_base62(number, width)


@pytest.mark.parametrize("text", ["_", "-", "é", " 1", "1\n"])
def test_a_foreign_digit_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not base62"):
        from_base62(text)


def test_the_digits_are_sixty_two_different_ones() -> None:
    assert len(set(BASE62)) == 62
