from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fortress.security.passwords import CommonPasswords, PasswordPolicy, packaged_common_passwords

COMMON = packaged_common_passwords()
POLICY = PasswordPolicy(8, ("Fortress", "shop.example"), COMMON)


def codes(password: str, email: str = "", name: str = "") -> list[str]:
    return [error.code for error in POLICY.check(password, email=email, name=name)]


@pytest.mark.parametrize(
    "password",
    [
        "k3v9-xq2",
        "correct horse battery staple",
        "пароль-из-слов",
        "  spaces count  ",
        "a\x00b\x00c\x00d\x00e",
        "x" * 63 + "yz",
        "🐎🔋📎🧷🐎🔋📎🧵",
    ],
)
def test_a_password_that_is_long_and_unusual_is_enough(password: str) -> None:
    assert codes(password, "alice@example.com", "Alice Liddell") == []


@pytest.mark.parametrize(("password", "length"), [("k3v9-xq", 7), ("é" * 3, 3), ("", 0)])
def test_fewer_than_eight_characters_are_refused(password: str, length: int) -> None:
    assert len(password) == length
    assert "password.too_short" in codes(password)


def test_length_counts_characters_and_not_bytes() -> None:
    assert "password.too_short" in codes("🐎🔋📎🧷")
    assert codes("ab" + "🐎🔋" * 511) == []


def test_more_than_1024_characters_are_refused_and_nothing_else_is_looked_at() -> None:
    assert codes("xy" * 512) == []
    assert codes("xy" * 512 + "z") == ["password.too_long"]
    assert codes("a" * 10_000_000) == ["password.too_long"]


@pytest.mark.parametrize("password", ["password", "PassWord", "12345678", "qwertyuiop", "iloveyou", "trustno1", "starwars", "1qaz2wsx"])
def test_a_common_password_is_refused_in_any_case(password: str) -> None:
    assert codes(password) == ["password.common"]


@pytest.mark.parametrize("password", ["aaaaaaaa", "zzzzzzzzzzzz", "abcdefghijkl", "987654321", "hgfedcbaa"[:8], "\x00" * 12])
def test_a_run_of_characters_is_refused(password: str) -> None:
    assert "password.common" in codes(password)


@pytest.mark.parametrize(
    "password",
    [
        "alice@example.com",
        "ALICE@EXAMPLE.COM",
        "alice.example",
        "Alice1234",
        "liddell!",
        "AliceLiddell",
        "alice liddell",
        "liddell.alice1",
        "fortress1",
        "Fortress2026",
        "shopexample",
        "shop.example1",
        "alicealice",
    ],
)
def test_a_password_built_from_what_everybody_knows_is_refused(password: str) -> None:
    assert "password.personal" in codes(password, "alice@example.com", "Alice Liddell")


@pytest.mark.parametrize("password", ["alice likes trains", "my fortress of snow", "example-k3v9xq"])
def test_such_a_word_within_a_longer_password_is_fine(password: str) -> None:
    assert codes(password, "alice@example.com", "Alice Liddell") == []


def test_short_names_do_not_forbid_everything() -> None:
    assert codes("k3v9-xq2", "a@b.co", "Li Wu") == []
    assert "password.personal" in codes("liwuliwu", "a@b.co", "Li Wu")


def test_all_faults_are_told_at_once_with_the_field_and_never_the_password() -> None:
    errors = POLICY.check("alice", email="alice@example.com", field="/new_password")
    assert {error.code for error in errors} == {"password.too_short", "password.personal"}
    assert {error.field for error in errors} == {"/new_password"}
    assert not any("alice" in error.message for error in errors)


def test_the_minimum_is_the_site_s_to_set() -> None:
    assert [error.code for error in PasswordPolicy(12, (), COMMON).check("k3v9-xq2-ab")] == ["password.too_short"]


def test_the_packaged_list_holds_more_than_asvs_asks_for() -> None:
    assert len(COMMON) == 11_611
    assert "Copyright" not in COMMON


@pytest.mark.parametrize("password", ["", "\n", "password\n12345678", "ssword", "passwor", "\ud800"])
def test_only_a_whole_line_of_the_list_counts(password: str) -> None:
    assert password not in COMMON


@given(st.text(max_size=1200))
def test_no_text_is_an_error_of_ours(password: str) -> None:
    POLICY.check(password, email=password[:300], name=password[::-1])


def test_a_list_of_one_s_own_can_be_used() -> None:
    assert "hunter2hunter2" in CommonPasswords([b"hunter2hunter2"])
    assert len(CommonPasswords([b"a", b"b"])) == 2
