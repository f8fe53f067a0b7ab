"""When it is tried again, when a receiver is left alone, what is signed: decided without a database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook as Verifier

from fortress.domains.webhooks.models import Webhook, WebhookState
from fortress.domains.webhooks.service.circuit import FAILURES, LONGEST_PAUSE, PATIENCE, after_failure, after_success, is_resting
from fortress.domains.webhooks.service.courier import excerpt, keys_of
from fortress.domains.webhooks.service.schedule import LONGEST, PAUSES, pause_after, read_retry_after
from fortress.domains.webhooks.service.signing import new_secret, shown, signed_headers

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ID = UUID(int=7)


def a_hook(**other: object) -> Webhook:
    usual: dict[str, object] = {
        "id": ID,
        "user_id": ID,
        "name": "Books",
        "url": "https://example.com/?token=MARKER",
        "facts": ["*"],
        "everyone": False,
        "state": WebhookState.ACTIVE,
        "reason": None,
        "secret": b"new" * 8,
        "old_secret": None,
        "old_until": None,
        "failures": 0,
        "failing_since": None,
        "paused_until": None,
        "created_at": NOW,
        "version": 1,
    }
    return Webhook(**(usual | other))  # type: ignore[arg-type]  # one dict of all fields


@given(st.integers(1, 20), st.none() | st.timedeltas(timedelta(0), timedelta(days=400)), st.floats(0, 1))
def test_pauses_are_bounded_and_never_shorter_than_planned(tries: int, wished: timedelta | None, chance: float) -> None:
    pause = pause_after(tries, wished, chance)
    if tries > len(PAUSES):
        assert pause is None
    else:
        assert pause is not None
        assert PAUSES[tries - 1] <= pause <= LONGEST * 1.2


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        (None, None),
        ("120", timedelta(minutes=2)),
        ("9" * 50, timedelta(days=1)),
        ("-1", None),
        ("soon", None),
        ("٣", None),
        ("Sun, 01 Mar 2026 12:01:00 GMT", timedelta(minutes=1)),
        ("Sun, 01 Mar 2026 11:00:00 GMT", timedelta(0)),
        ("Sun, 99 Mar 2026 11:00:00 GMT", None),
    ],
)
def test_what_a_receiver_wishes_is_read(said: str | None, meant: timedelta | None) -> None:
    assert read_retry_after(said, NOW) == meant


def test_a_failing_receiver_is_left_alone_tried_and_given_up() -> None:
    hook, now = a_hook(), NOW
    for _ in range(FAILURES - 1):
        hook = after_failure(hook, now)
        assert hook.state is WebhookState.ACTIVE
    pauses = []
    while hook.state is not WebhookState.DISABLED:
        hook = after_failure(hook, now)
        if hook.paused_until is not None:
            assert is_resting(hook, now)
            pauses.append(hook.paused_until - now)
            now = hook.paused_until
            assert not is_resting(hook, now)
    assert pauses[:3] == [timedelta(minutes=1), timedelta(minutes=2), timedelta(minutes=4)]
    assert max(pauses) == LONGEST_PAUSE
    assert (hook.reason, now - NOW >= PATIENCE) == ("failing", True)


def test_one_success_makes_all_well() -> None:
    hook = after_success(a_hook(state=WebhookState.PAUSED, failures=9, failing_since=NOW, paused_until=NOW))
    assert (hook.state, hook.failures, hook.failing_since, hook.paused_until) == (WebhookState.ACTIVE, 0, None, None)


@given(st.binary(max_size=200))
def test_receivers_know_a_delivery_by_their_own_library(body: bytes) -> None:
    old, new = new_secret(), new_secret()
    now = datetime.now(UTC)
    data = b'{"type": "T", "data": "' + body.hex().encode() + b'"}'
    headers = signed_headers([new, old], ID, now, data)
    for secret in (old, new):
        assert Verifier(shown(secret)).verify(data, headers)["type"] == "T"
    with pytest.raises(Exception, match="No matching signature"):
        Verifier(shown(new_secret())).verify(data, headers)


def test_the_old_secret_signs_until_its_end() -> None:
    hook = a_hook(old_secret=b"old", old_until=NOW)
    assert keys_of(hook, NOW - timedelta(seconds=1)) == [hook.secret, b"old"]
    assert keys_of(hook, NOW) == [hook.secret]
    assert keys_of(a_hook(), NOW) == [hook.secret]


@given(st.binary(max_size=5000))
def test_an_excerpt_is_short_and_shows_all_that_it_holds(start: bytes) -> None:
    text = excerpt(start)
    assert len(text) <= 300
    assert text.isprintable()


def test_nothing_of_a_webhook_shows_in_logs() -> None:
    assert "MARKER" not in repr(a_hook())
