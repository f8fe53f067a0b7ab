"""Headers that every answer carries (ASVS V3.4, V14.3.2)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from email.utils import format_datetime
from typing import Final, NamedTuple

from fortress.http.answers import Header

_YEAR: Final = int(timedelta(days=365).total_seconds())

SECURITY: Final[tuple[Header, ...]] = (
    (b"strict-transport-security", f"max-age={_YEAR}; includeSubDomains".encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"permissions-policy", b"geolocation=(), camera=(), microphone=()"),
    (b"cache-control", b"no-store"),
    # An empty name keeps the server from adding its own (ASVS V13.4.6).
    (b"server", b""),
)


class Ending(NamedTuple):
    """The last version of an address, since when it is discouraged, and when it stops."""

    last: int
    deprecated: date | None
    sunset: date | None


def ending_headers(ending: Ending, path: str) -> tuple[Header, ...]:
    """`Deprecation` (RFC 9745), `Sunset` (RFC 8594) and the successor's address of what ends."""
    headers: list[Header] = []
    if ending.deprecated is not None:
        headers.append((b"deprecation", b"@%d" % midnight(ending.deprecated).timestamp()))
    if ending.sunset is not None:
        headers.append((b"sunset", format_datetime(midnight(ending.sunset), usegmt=True).encode()))
    successor = f"/api/v{ending.last + 1}{path}"
    headers.append((b"link", f'<{successor}>; rel="successor-version"'.encode()))
    return tuple(headers)


def replacing(defaults: Sequence[Header], own: Sequence[Header]) -> list[Header]:
    """The defaults, but for those that an answer brings itself."""
    names = {name for name, _ in own}
    return [header for header in defaults if header[0] not in names]


def midnight(day: date) -> datetime:
    """The day's first moment (UTC)."""
    return datetime.combine(day, time(), UTC)
