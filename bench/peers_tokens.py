"""The peers' access tokens: HS256, as PyJWT's and @fastify/jwt's first pages have it."""

from __future__ import annotations

import time
from typing import Final
from uuid import UUID

from joserfc import jwt
from joserfc.jwk import OctKey

LIFE: Final = 3600


def token(secret: str, user: UUID, scopes: str) -> str:
    """An access token of this user, valid for an hour."""
    now = int(time.time())
    claims = {"sub": str(user), "scope": scopes, "iat": now, "exp": now + LIFE}
    return jwt.encode({"alg": "HS256", "typ": "JWT"}, claims, OctKey.import_key(secret))
