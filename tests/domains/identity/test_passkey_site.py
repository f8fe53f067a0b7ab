"""For which pages passkeys are (WebAuthn Level 3 §5.1.2, §13.4.9)."""

from __future__ import annotations

import pytest

from fortress.domains.identity.service.ceremonies import site_of
from fortress.errors import CannotStart
from fortress.settings import Settings


def test_the_site_is_the_public_address_domain() -> None:
    assert site_of(Settings(port=8000)).origins == ("http://localhost:8000",)
    site = site_of(Settings(public_url="https://shop.example/"))
    assert (site.id, site.origins) == ("shop.example", ("https://shop.example",))
    several = ("https://shop.example", "https://app.shop.example")
    assert site_of(Settings(public_url="https://shop.example", passkey_origins=several)).origins == several


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "https://shop.example.evil.example",
        "https://evilshop.example",
        "http://shop.example",
        "https://shop.example/x",
    ],
)
def test_foreign_origins_stop_the_start(origin: str) -> None:
    with pytest.raises(CannotStart, match="FORTRESS_PASSKEY_ORIGINS"):
        site_of(Settings(public_url="https://shop.example", passkey_origins=(origin,)))
