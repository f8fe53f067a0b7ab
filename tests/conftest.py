"""What all suites share: the shop as the app under test."""

from __future__ import annotations

import pytest

from fortress import Fortress
from fortress.domains import standard
from shop.orders.manifest import orders


@pytest.fixture(scope="session")
def app() -> Fortress:
    """The shop, made anew so that no other test run's settings stick to it."""
    return Fortress(title="Shop", version=2, domains=[*standard, orders])
