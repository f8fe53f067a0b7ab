"""What all suites share: the shop as the app under test, and how hard hypothesis tries."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

from fortress import Fortress
from fortress.domains import standard
from shop.orders.manifest import orders

# A slow machine is no bug, so no example has a deadline. In CI the same commit is tried with the same examples:
# what fails there fails again; new examples are found at the developers'.
settings.register_profile("suite", max_examples=50, deadline=None, derandomize="CI" in os.environ)
settings.load_profile("suite")


@pytest.fixture(scope="session")
def app() -> Fortress:
    """The shop, made anew so that no other test run's settings stick to it."""
    return Fortress(title="Shop", version=2, domains=[*standard, orders])
