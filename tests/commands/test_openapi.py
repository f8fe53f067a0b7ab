"""`fortress openapi`: what the repository's frozen documents promise is kept, and what breaks a promise is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner

from fortress import Fortress
from fortress.commands.openapi import broken_promises, frozen
from fortress.commands.shell import shell
from fortress.domains import standard
from fortress.errors import CannotStart
from shop.app import app as the_shop

ROOT = Path(__file__).parents[2]
BUILT_IN = Fortress(domains=standard)


def run(app: Fortress, *words: object) -> tuple[int, str, BaseException | None]:
    result = CliRunner().invoke(shell(lambda _: app), ["openapi", *(str(word) for word in words)])
    return result.exit_code, result.output, result.exception


@pytest.mark.parametrize(
    ("app", "folder", "versions"), [(BUILT_IN, ROOT / "openapi", [1]), (the_shop, ROOT / "examples/shop/openapi", [1, 2])]
)
def test_every_version_keeps_what_was_released(app: Fortress, folder: Path, versions: list[int]) -> None:
    assert all(frozen(folder, version).exists() for version in versions)
    assert broken_promises(app, folder) == []


def test_the_document_of_a_version_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    code, output, _ = run(the_shop, "--version", 1)
    document = msgspec.json.decode(output)
    assert (code, document["info"]["version"]) == (0, "v1")
    assert "/products" in document["paths"]
    assert msgspec.json.decode(run(the_shop)[1])["info"]["version"] == "v2"


def test_a_version_that_is_not_served_is_refused() -> None:
    _, _, error = run(the_shop, "--version", 3)
    assert isinstance(error, CannotStart)
    assert error.problem == "v3 is not served"


def test_what_was_frozen_is_kept_and_what_breaks_it_is_named(tmp_path: Path) -> None:
    assert run(the_shop, "--check", "--folder", tmp_path)[0] == 0
    assert run(the_shop, "--freeze", "--folder", tmp_path)[0] == 0
    assert run(the_shop, "--check", "--folder", tmp_path)[1].startswith("v1, v2: every promise is kept.")
    path = frozen(tmp_path, 1)
    path.write_bytes(with_a_field_that_is_not_there(path))
    code, output, error = run(the_shop, "--check", "--folder", tmp_path)
    assert code == 1
    assert "API005  v1: GET /orders/{order_id}: answer lost the field `weight`" in output
    assert isinstance(error, CannotStart)


def test_a_broken_promise_is_not_frozen_over(tmp_path: Path) -> None:
    run(the_shop, "--freeze", "--folder", tmp_path)
    path = frozen(tmp_path, 1)
    path.write_bytes(with_a_field_that_is_not_there(path))
    before = path.read_bytes()
    assert run(the_shop, "--freeze", "--folder", tmp_path)[0] == 1
    assert path.read_bytes() == before


def with_a_field_that_is_not_there(path: Path) -> bytes:
    document: Any = msgspec.json.decode(path.read_bytes())
    document["components"]["schemas"]["Order"]["properties"]["weight"] = {"type": "integer"}
    return msgspec.json.encode(document)
