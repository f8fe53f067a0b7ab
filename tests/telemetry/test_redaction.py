"""What is planted in a record must not come out of it (ASVS V16.2.5)."""

from __future__ import annotations

import pytest

from fortress.telemetry.redaction import HIDDEN, MAX_DEPTH, MAX_ITEMS, MAX_TEXT, MAX_TRACE, clean_fields, clean_text, clean_trace

SECRET_KEYS = [
    "password", "new_password", "passwordHash", "token", "refresh_token", "accessToken", "client_secret", "Authorization", "cookie",
    "set-cookie", "api_key", "x-api-key", "apikey", "private_key", "email", "user_email", "E-Mail", "phone", "otp", "credentials",
]  # fmt: skip
OPEN_KEYS = ["order_id", "status", "tokenizer", "route", "session", "emailer_state", "pinned", "mailbox_count", "code"]
SECRET_VALUES = [
    "fort_live_0123456789abcdef",
    "fr_0123456789abcdef0123",
    "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
    "ada.lovelace+x@mail.example.org",
    "$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA",
    "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEI\n-----END PRIVATE KEY-----",
]


@pytest.mark.parametrize("key", SECRET_KEYS)
def test_a_field_with_a_telling_name_is_hidden(key: str) -> None:
    assert clean_fields({key: "planted"}) == {key: HIDDEN}
    assert clean_fields({"outer": [{key: {"inner": "planted"}}]}) == {"outer": [{key: HIDDEN}]}


@pytest.mark.parametrize("key", OPEN_KEYS)
def test_a_field_that_only_sounds_alike_is_shown(key: str) -> None:
    assert clean_fields({key: "shown"}) == {key: "shown"}


@pytest.mark.parametrize("secret", SECRET_VALUES)
def test_a_secret_is_hidden_wherever_it_stands(secret: str) -> None:
    for cleaned in (clean_text(f"before {secret} after"), clean_trace(f"before {secret} after")):
        assert secret not in cleaned
        assert cleaned == f"before {HIDDEN} after"
    assert secret not in str(clean_fields({"a": [f"x {secret}"], "b": ValueError(secret), "c": {secret}}))


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("Bearer abc.def", "Bearer [hidden]"),
        ("/reset?token=abcdef&x=1 password=hunter2", "/reset?token=[hidden]&x=1 password=[hidden]"),
        ("postgresql://fortress:hunter2@db/app", "postgresql://[hidden]@db/app"),
        ("redis://:hunter2@127.0.0.1", "redis://[hidden]@127.0.0.1"),
    ],
)
def test_credentials_in_headers_and_addresses_are_hidden(text: str, kept: str) -> None:
    assert clean_text(text) == kept


def test_a_secret_that_is_cut_by_the_bound_does_not_show_its_beginning() -> None:
    cut = clean_text("x" * (MAX_TEXT - 8) + " fort_live_0123456789abcdef")
    assert "fort_" not in cut


def test_nothing_is_without_a_bound() -> None:
    nested: object = "deep"
    for _ in range(100):
        nested = [nested]
    cleaned = clean_fields({"text": "x" * 100_000, "items": list(range(10_000)), "nested": nested, "bytes": b"x" * 10_000} | {"k" * 500: 1})
    assert len(cleaned["text"]) <= MAX_TEXT + 1
    assert len(cleaned["items"]) == MAX_ITEMS
    assert str(cleaned["nested"]).count("[") <= MAX_DEPTH + MAX_TEXT
    assert cleaned["bytes"] == "[10000 bytes]"
    assert max(map(len, cleaned)) <= 101


def test_a_long_trace_keeps_its_beginning_and_its_end() -> None:
    trace = "Traceback\n" + "middle\n" * 10_000 + "ValueError: the reason"
    cleaned = clean_trace(trace)
    assert len(cleaned) <= MAX_TRACE + 10
    assert cleaned.startswith("Traceback\n")
    assert cleaned.endswith("ValueError: the reason")


def test_what_is_called_as_personal_data_is_hidden_under_exactly_that_name() -> None:
    fields = {"note": "planted", "Note": "planted", "outer": [{"note": "planted"}], "note_id": "shown", "empty": {"note": None}}
    assert clean_fields(fields, frozenset({"note"})) == {
        "note": HIDDEN, "Note": HIDDEN, "outer": [{"note": HIDDEN}], "note_id": "shown", "empty": {"note": None}
    }  # fmt: skip
    assert clean_fields({"note": "shown"}) == {"note": "shown"}
