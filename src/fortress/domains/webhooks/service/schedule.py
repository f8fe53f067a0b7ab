"""When a delivery is tried again. Pure: what it decides is tested without a database and a clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

# As Standard Webhooks suggests: ten tries within about three days.
PAUSES: Final = (
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
    timedelta(hours=14),
    timedelta(hours=20),
    timedelta(hours=24),
)
LONGEST: Final = timedelta(hours=24)
SPREAD: Final = 0.2
_DIGITS: Final = 9


def pause_after(tries: int, wished: timedelta | None, chance: float) -> timedelta | None:
    """How long is waited after so many tries; None: that was the last.

    Args:
        tries: so far, at least 1.
        wished: what the receiver asked for; it makes the pause longer, up to a day, and never shorter.
        chance: 0 to 1; spreads the tries over a fifth of the pause, so that they don't all come at once.
    """
    if tries > len(PAUSES):
        return None
    pause = max(PAUSES[tries - 1], min(wished or timedelta(0), LONGEST))
    return pause * (1 + SPREAD * chance)


def read_retry_after(text: str | None, now: datetime) -> timedelta | None:
    """What a Retry-After header asks for (RFC 9110 §10.2.3): seconds, or a date; None for anything else."""
    if text is None:
        return None
    if text.isascii() and text.isdigit():
        return timedelta(seconds=int(text)) if len(text) <= _DIGITS else LONGEST
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(aware - now, timedelta(0))
