"""What becomes of a webhook after a try: a receiver that fails is left alone for a while, then tried with one delivery. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from msgspec.structs import replace

from fortress.domains.webhooks.models import Webhook, WebhookState

FAILURES: Final = 5
FIRST_PAUSE: Final = timedelta(minutes=1)
LONGEST_PAUSE: Final = timedelta(hours=1)
# How long a failing receiver is tried before it is given up.
PATIENCE: Final = timedelta(days=5)
# What one try gets before another delivery may try the same.
PROBE: Final = timedelta(minutes=1)
GONE: Final = "gone"
FAILING: Final = "failing"
NOT_ALLOWED: Final = "not_allowed"
BY_HAND: Final = "by_hand"
_STEPS: Final = 16


def after_success(hook: Webhook) -> Webhook:
    """All is well again."""
    state = WebhookState.ACTIVE if hook.state is WebhookState.PAUSED else hook.state
    return replace(hook, state=state, failures=0, failing_since=None, paused_until=None)


def after_failure(hook: Webhook, now: datetime) -> Webhook:
    """One failure more: paused after five in a row, for a minute and twice as long each time; disabled after five days."""
    failures, since = hook.failures + 1, hook.failing_since or now
    failed = replace(hook, failures=failures, failing_since=since)
    if hook.state is WebhookState.DISABLED or failures < FAILURES:
        return failed
    if now - since >= PATIENCE:
        return disabled(failed, FAILING)
    pause = min(FIRST_PAUSE * 2 ** min(failures - FAILURES, _STEPS), LONGEST_PAUSE)
    return replace(failed, state=WebhookState.PAUSED, paused_until=now + pause)


def disabled(hook: Webhook, reason: str) -> Webhook:
    """Nothing is sent any more."""
    return replace(hook, state=WebhookState.DISABLED, reason=reason, paused_until=None)


def enabled(hook: Webhook) -> Webhook:
    """A new start."""
    return replace(after_success(hook), state=WebhookState.ACTIVE, reason=None)


def is_resting(hook: Webhook, now: datetime) -> bool:
    """Whether nothing is tried at this moment."""
    return hook.state is WebhookState.PAUSED and hook.paused_until is not None and now < hook.paused_until


def probing(hook: Webhook, now: datetime) -> Webhook:
    """One delivery is tried; the others wait for how it ends."""
    return replace(hook, paused_until=now + PROBE)
