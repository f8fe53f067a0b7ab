"""What others may know of us by convention (RFC 8615)."""

from __future__ import annotations

from fortress.http.answers import Answer, render_json
from fortress.http.routes import own_address
from fortress.limits.policy import per_minute
from fortress.security.keys import KeyRing
from fortress.security.permissions import PUBLIC


@own_address("GET", "/.well-known/jwks.json", allow=PUBLIC, limit=per_minute(300, group="well-known"))
async def jwks(ring: KeyRing) -> Answer:
    """The public keys of our tokens (RFC 7517), the next one included."""
    return render_json(ring.jwks(), headers=((b"cache-control", b"public, max-age=300"),))


ROUTES = (jwks,)
