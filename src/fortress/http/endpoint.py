"""A route as it is served: one version, its policy worked out, ready for the gate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from fortress.http.answers import Header
from fortress.http.binding import Call, Signature
from fortress.http.headers import Ending
from fortress.http.routes import Route
from fortress.limits.policy import Limit
from fortress.security.permissions import Need
from fortress.security.proof import Proof


class Measure(Protocol):
    """Counts one route's requests."""

    def observe(self, status: int, seconds: float) -> None: ...


class Endpoint:
    """What the gate knows of a route before any body is read.

    Attributes:
        route: as declared; None for the answers to unknown paths and methods.
        template: the path with its parameters unfilled; what logs and metrics call it.
        prefix: `/api/v1`, or nothing for the runtime's own addresses.
        need: the permission bits that it asks for.
        proof: what it asks of the caller's proof beyond that; None: nothing.
        call: the handler, bound.
        limit_name: what its limit is counted under; the same for every version of a route.
        ending: when this version of it stops, if that is known.
        signature: what it takes and gives, in its version's shapes.
        identified: False when nothing in it depends on who asks.
        headers: that all its answers carry.
        max_body: bytes.
    """

    __slots__ = (
        "call",
        "ending",
        "headers",
        "identified",
        "limit",
        "limit_name",
        "max_body",
        "measure",
        "need",
        "prefix",
        "proof",
        "route",
        "signature",
        "template",
    )

    def __init__(
        self,
        *,
        template: str,
        prefix: str,
        need: Need,
        limit: Limit,
        limit_name: str,
        call: Call,
        headers: Sequence[Header],
        measure: Measure,
        max_body: int,
        identified: bool,
        route: Route | None = None,
        proof: Proof | None = None,
        signature: Signature | None = None,
        ending: Ending | None = None,
    ) -> None:
        self.template = template
        self.prefix = prefix
        self.need = need
        self.limit = limit
        self.limit_name = limit_name
        self.call = call
        self.headers = tuple(headers)
        self.measure = measure
        self.max_body = max_body
        self.identified = identified
        self.route = route
        self.proof = proof
        self.signature = signature
        self.ending = ending
