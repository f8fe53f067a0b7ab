"""Signatures as Standard Webhooks says (https://www.standardwebhooks.com): HMAC-SHA-256 of id, time and body."""

from __future__ import annotations

import base64
import hmac
import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

_PREFIX: Final = "whsec_"
_SECRET_BYTES: Final = 32


def new_secret() -> bytes:
    """256 random bits; the specification wants 192 to 512."""
    return secrets.token_bytes(_SECRET_BYTES)


def shown(secret: bytes) -> str:
    """The secret as receivers are given it."""
    return _PREFIX + base64.b64encode(secret).decode()


def signed_headers(keys: Sequence[bytes], event: UUID, at: datetime, body: bytes) -> dict[str, str]:
    """What receivers check a delivery by. With two keys they know it by either, so that they can change over at their own time.

    Args:
        keys: that it is signed with.
        event: the same at each try, so that a receiver knows a repetition.
        at: of this try; receivers refuse what is old.
        body: byte by byte.
    """
    stamp = int(at.timestamp())
    told = f"{event}.{stamp}.".encode() + body
    signatures = [base64.b64encode(hmac.digest(key, told, "sha256")).decode() for key in keys]
    return {
        "content-type": "application/json",
        "webhook-id": str(event),
        "webhook-timestamp": str(stamp),
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }
