"""A key ring in a file of its own, a clock that stands still, and what stands on both."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fortress.clock import FixedClock
from fortress.security.keyfile import FileKeys
from fortress.security.keys import KeyRing, new_ring
from fortress.security.tokens import AccessTokens

ISSUER = "https://shop.example"
AUDIENCE = "https://shop.example"


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(datetime(2026, 3, 1, 12, tzinfo=UTC))


@pytest.fixture
def keys(tmp_path: Path, clock: FixedClock) -> FileKeys:
    keys = FileKeys(tmp_path / "keyring.json")
    keys.ensure(lambda: new_ring(clock.now()))
    return keys


@pytest.fixture
def ring(keys: FileKeys, clock: FixedClock) -> KeyRing:
    return KeyRing(keys, clock, overlap=timedelta(minutes=11), secret_overlap=timedelta(days=91))


@pytest.fixture
def tokens(ring: KeyRing, clock: FixedClock) -> AccessTokens:
    return AccessTokens(ring, clock, issuer=ISSUER, audience=AUDIENCE, lifetime=timedelta(minutes=10))
