from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
import typer
from typer.testing import CliRunner

from fortress.commands.migrate import migrate_app
from fortress.data.migration import Branch, Migrations
from fortress.errors import BrokenRules, CannotStart
from fortress.testing.databases import Databases

MIGRATION = """from alembic import op

revision = "{name}"
down_revision = {previous!r}
branch_labels = {labels!r}


def upgrade():
    op.execute("{up}")


def downgrade():
    op.execute("{down}")
"""


@pytest.fixture
def owner_url(databases: Databases) -> Iterator[str]:
    with databases.kept() as url:
        yield url


@pytest.fixture
def orders(tmp_path: Path) -> Branch:
    table = sa.Table("orders", sa.MetaData(), sa.Column("id", sa.Uuid, nullable=False))
    create, more = "orders_0001_pre_create", "orders_0002_post_tidy"
    up, down = "CREATE TABLE orders (id UUID NOT NULL)", "DROP TABLE orders"
    (tmp_path / f"{create}.py").write_text(MIGRATION.format(name=create, previous=None, labels=("orders",), up=up, down=down))
    (tmp_path / f"{more}.py").write_text(MIGRATION.format(name=more, previous=create, labels=None, up="SELECT 1", down="SELECT 1"))
    return Branch("orders", tmp_path, [table])


@pytest.fixture
def app(owner_url: str, orders: Branch) -> typer.Typer:
    @contextmanager
    def opened() -> Iterator[Migrations]:
        yield Migrations(owner_url, [orders], say=typer.echo)

    return migrate_app(opened)


def run(app: typer.Typer, *words: str, answer: str | None = None) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(words), input=answer)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


def test_up_says_what_it_does_and_then_that_nothing_is_left(app: typer.Typer) -> None:
    code, output = run(app, "up")
    assert code == 0
    assert "orders_0001_pre_create … " in output
    assert output.endswith("2 migrations applied\n")
    assert run(app, "up") == (0, "Nothing to do\n")


def test_the_two_halves_of_a_deployment(app: typer.Typer) -> None:
    assert run(app, "up", "--pre")[1].endswith("1 migration applied\n")
    code, output = run(app, "status")
    assert code == 3
    assert "orders: orders_0001_pre_create since " in output
    assert output.endswith("; pending: orders_0002_post_tidy\n")
    assert run(app, "up", "--post")[1].endswith("1 migration applied\n")
    with pytest.raises(CannotStart, match="two deployments' steps"):
        run(app, "up", "--pre", "--post")


def test_status_as_json(app: typer.Typer) -> None:
    run(app, "up")
    code, output = run(app, "status", "--json")
    assert code == 0
    (branch,) = json.loads(output)
    assert (branch["branch"], branch["current"], branch["pending"]) == ("orders", "orders_0002_post_tidy", [])


def test_down_asks_first(app: typer.Typer) -> None:
    run(app, "up")
    assert run(app, "down", "orders", answer="n\n")[0] == 1
    assert run(app, "down", "orders", answer="y\n")[1].endswith("1 migration taken back\n")
    assert run(app, "down", "orders", "1", "--yes")[1].endswith("1 migration taken back\n")


def test_new_drafts_the_next_migration(app: typer.Typer, orders: Branch) -> None:
    run(app, "up")
    code, output = run(app, "new", "orders", "add", "colour", "--post")
    assert code == 0
    assert "orders_0003_post_add_colour.py" in output
    assert len(orders.revisions()) == 3


def test_check_passes_or_names_every_breach(app: typer.Typer, orders: Branch) -> None:
    assert run(app, "check")[0] == 0
    path = orders.directory / "orders_0002_post_tidy.py"
    path.write_text(path.read_text().replace('op.execute("SELECT 1")', 'op.execute("CREATE INDEX i ON orders (id)")', 1))
    with pytest.raises(BrokenRules) as broken:
        run(app, "check")
    said = [breach.what for breach in broken.value.breaches]
    assert any("builds an index on orders while nobody can write to it" in what for what in said)
    assert any('relation "i" already exists' in what for what in said)
