"""What the built-in domains declare is what their migrations make, and each migration can be taken back."""

from __future__ import annotations

from fortress.bootstrap.assembly import Assembly
from fortress.data.migration.check import check_migrations
from fortress.data.migration.session import Patience
from fortress.domains import standard


async def test_the_models_are_what_the_migrations_make(domains_url: str) -> None:
    assert await check_migrations(domains_url, Assembly(standard, current=1).branches(), Patience()) == []
