"""The same rows for everyone, every time."""

from __future__ import annotations

import pytest

from bench import seed


def test_the_rows_are_the_same_each_time_and_spread_over_all_users() -> None:
    users = seed.user_ids()
    rows = seed.order_rows(users)
    assert rows == seed.order_rows(seed.user_ids())
    assert len(rows) == seed.ORDERS
    assert {row[1] for row in rows} == set(users)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://postgres@127.0.0.1:5432/postgres", "postgresql://postgres@127.0.0.1:5432/other"),
        ("postgresql://postgres@/postgres?host=/run/x", "postgresql://postgres@/other?host=/run/x"),
        ("postgresql://a:b@db/one?sslmode=require", "postgresql://a:b@db/other?sslmode=require"),
    ],
)
def test_another_database_of_the_same_server(url: str, expected: str) -> None:
    assert seed.with_database(url, "other") == expected
