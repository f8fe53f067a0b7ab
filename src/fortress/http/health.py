"""Is it alive, is it ready, how is it: three questions, three addresses (rule OBS002)."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from ipaddress import ip_address
from typing import Protocol

import msgspec

from fortress.clock import Clock
from fortress.errors import NotFound
from fortress.http.answers import Answer, render_json
from fortress.http.request import Request
from fortress.http.routes import own_address
from fortress.limits.policy import per_second
from fortress.security.permissions import PUBLIC

REMEMBER_SECONDS = 0.25
PROBE_LIMIT = per_second(100, group="health")
Check = Callable[[], Awaitable[str | None]]


class Health(msgspec.Struct, frozen=True):
    """`status` is ok or unavailable; `checks` says for each part ok, or in a word what it lacks."""

    status: str
    checks: dict[str, str]


class Readiness:
    """Asks every part whether it can serve. The answer is kept for a quarter second, so that probes cost nothing.

    Args:
        checks: by name; each gives None when all is well, or a word for what is not.
    """

    def __init__(self, checks: dict[str, Check], clock: Clock) -> None:
        self._checks = checks
        self._clock = clock
        self._known = Health("unavailable", {})
        self._until = float("-inf")

    async def health(self) -> Health:
        """The state of every part. A change shows within 0.25 s."""
        now = self._clock.monotonic()
        if now >= self._until:
            said = {name: await check() or "ok" for name, check in self._checks.items()}
            self._known = Health("ok" if all(word == "ok" for word in said.values()) else "unavailable", said)
            self._until = now + REMEMBER_SECONDS
        return self._known


class MetricsPage(Protocol):
    """Renders the metrics."""

    def render(self) -> tuple[bytes, str]:
        """The text and its content type."""
        ...


class MetricsDoor:
    """Metrics are for the machine itself, and for who holds the token."""

    def __init__(self, page: MetricsPage, token: str | None) -> None:
        self._page = page
        self._token = token

    def open(self, request: Request) -> Answer:
        """The metrics.

        Raises:
            NotFound: the caller is neither on loopback nor holds the token; nothing shows that there is a door.
        """
        if not (_on_loopback(request.context.address) or self._holds_token(request)):
            raise NotFound
        text, kind = self._page.render()
        return Answer(200, text, ((b"content-type", kind.encode()),))

    def _holds_token(self, request: Request) -> bool:
        given = request.head.get(b"authorization", b"")
        return self._token is not None and hmac.compare_digest(given, b"Bearer " + self._token.encode())


@own_address("GET", "/health/live", allow=PUBLIC, limit=PROBE_LIMIT)
async def live() -> Health:
    """The process runs and answers."""
    return Health("ok", {})


@own_address("GET", "/health/ready", allow=PUBLIC, limit=PROBE_LIMIT)
async def ready(readiness: Readiness) -> Answer:
    """It can take requests: database there, schema at head, pool not exhausted, not draining."""
    health = await readiness.health()
    return render_json(health, 200 if health.status == "ok" else 503)


@own_address("GET", "/health/metrics", allow=PUBLIC, limit=PROBE_LIMIT)
async def metrics(request: Request, door: MetricsDoor) -> Answer:
    """Prometheus metrics; from loopback, or with the metrics token."""
    return door.open(request)


ROUTES = (live, ready, metrics)


def _on_loopback(address: str) -> bool:
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return address == "local"
