from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fortress.data.migration import Branch, Phase, Revision
from fortress.data.migration.names import read_name
from fortress.errors import CannotStart

Write = Callable[..., Path]


def test_a_name_tells_branch_serial_phase_and_words() -> None:
    revision = read_name("api_keys_0012_post_drop_old_hash")
    assert revision == Revision("api_keys", 12, Phase.POST, "drop_old_hash")
    assert revision.name == "api_keys_0012_post_drop_old_hash"


@pytest.mark.parametrize(
    "name", ["orders_1_pre_create", "orders_0001_create", "0001_pre_create", "Orders_0001_pre_x", "orders_0001_pre_", "abc123"]
)
def test_other_names_mean_nothing(name: str) -> None:
    assert read_name(name) is None


def test_a_chain_is_ordered_by_serial(orders: Branch, write: Write) -> None:
    for name in ("orders_0001_pre_create", "orders_0002_post_tidy", "orders_0003_pre_more"):
        write(name)
    assert [revision.serial for revision in orders.revisions()] == [1, 2, 3]


@pytest.mark.parametrize("name", ["orders_2_pre_x", "other_0001_pre_create"])
def test_a_file_that_is_no_migration_of_the_branch_is_named(orders: Branch, write: Write, name: str) -> None:
    path = write(name)
    with pytest.raises(CannotStart, match=path.name):
        orders.revisions()


@pytest.mark.parametrize("second", ["orders_0003_pre_gap", "orders_0001_pre_twice"])
def test_a_missing_or_repeated_serial_is_named(orders: Branch, write: Write, second: str) -> None:
    write("orders_0001_pre_create")
    write(second)
    with pytest.raises(CannotStart, match="should have the serial 0002"):
        orders.revisions()


def test_a_branch_without_a_folder_has_no_migrations(tmp_path: Path) -> None:
    assert Branch("empty", tmp_path / "nowhere").revisions() == ()
