"""The house as ARCHITECTURE.md draws it: rooms, sizes, words. What imports may do is import-linter's work (`make check`)."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted([*ROOT.glob("src/**/*.py"), *ROOT.glob("examples/**/*.py")])
EVERYTHING = sorted([*SOURCES, *ROOT.glob("tests/**/*.py"), *ROOT.glob("bench/**/*.py")])
ROOMS = {
    "__init__",
    "contract",
    "events",
    "policy",
    "models",
    "repository",
    "service",
    "handlers",
    "rest",
    "graphql",
    "console",
    "cli",
    "manifest",
    "migrations",
    "templates",
}
DRAWERS = {"utils", "util", "common", "helpers", "helper", "shared", "misc", "lib"}
DOMAINS = [*(manifest.parent for manifest in sorted(ROOT.glob("src/fortress/domains/*/manifest.py"))), ROOT / "examples/shop/orders"]
LONGEST_FILE = 600
LONGEST_FUNCTION = 60
ROOT_FILES = 10


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    tree = ast.parse(path.read_text("utf-8"))
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def long_functions(path: Path, longest: int = LONGEST_FUNCTION) -> list[str]:
    return [f"{path.name}:{node.lineno} {node.name}" for node in functions(path) if (node.end_lineno or 0) - node.lineno >= longest]


@pytest.mark.parametrize("path", EVERYTHING, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_and_no_function_is_too_long(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) <= LONGEST_FILE
    assert long_functions(path) == []


def test_a_function_that_is_too_long_is_seen(tmp_path: Path) -> None:
    sample = tmp_path / "sample.py"
    sample.write_text("def long() -> None:\n" + "    print()\n" * LONGEST_FUNCTION)
    assert long_functions(sample) == ["sample.py:1 long"]


def test_no_folder_or_file_is_a_drawer_of_leftovers() -> None:
    assert [path for path in EVERYTHING if {path.stem, *path.relative_to(ROOT).parts} & DRAWERS] == []


@pytest.mark.parametrize("domain", DOMAINS, ids=lambda path: path.name)
def test_a_domain_has_its_rooms_and_no_other(domain: Path) -> None:
    found = {path.stem for path in domain.iterdir() if path.name != "__pycache__"}
    assert found <= ROOMS
    assert {"__init__", "manifest", "policy"} <= found


def test_the_root_holds_at_most_ten_files() -> None:
    ignored = {".coverage"}
    files = [path.name for path in ROOT.iterdir() if path.is_file() and path.name not in ignored and not path.name.startswith(".")]
    assert len(files) <= ROOT_FILES, files


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_module_says_what_it_is(path: Path) -> None:
    assert path.stem == "__init__" or ast.get_docstring(ast.parse(path.read_text("utf-8")))


def reads_environment(text: str) -> bool:
    return re.search(r"os\.(environ|getenv)", text) is not None


def test_only_settings_read_the_environment() -> None:
    # Those that start servers for tests hand on what is there, without what is ours.
    allowed = {"settings.py", "servers.py", "processes.py", "nursery.py"}
    assert [path for path in SOURCES if path.name not in allowed and reads_environment(path.read_text("utf-8"))] == []
    assert reads_environment("import os\nos.environ['X']")


def test_no_web_framework_and_no_registry_host_is_named() -> None:
    # Spelt so that this file does not name them itself.
    hosts = re.compile("|".join(("py" + "pi.org", "python" + "hosted.org", "registry.npm" + "js.org")))
    frameworks = re.compile(r"^\s*(?:from|import) (?:litestar|starlette|fastapi|flask|django)\b", re.M)
    texts = {path: path.read_text("utf-8") for path in [*ROOT.glob("requirements/*"), *ROOT.glob("*.*"), *EVERYTHING] if path.is_file()}
    assert [path for path, text in texts.items() if hosts.search(text)] == []
    assert [path for path in SOURCES if frameworks.search(texts[path])] == []


def calls_commit(path: Path) -> bool:
    called = [node.func for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call)]
    return any(isinstance(function, ast.Attribute) and function.attr == "commit" for function in called)


def test_no_domain_commits() -> None:
    assert [path for path in SOURCES if "domains" in path.parts or "shop" in path.parts if calls_commit(path)] == []


PUBLIC = {"fortress", "fortress.cache", "fortress.data", "fortress.domains", "fortress.events", "fortress.http", "fortress.security"}
# What `fortress migrate new` writes into a draft.
PUBLIC |= {"fortress.data.migration.operations"}


def imported(path: Path) -> set[str]:
    tree = ast.parse(path.read_text("utf-8"))
    named = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    named |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    return {name for name in named if name.split(".")[0] == "fortress"}


@pytest.mark.parametrize("path", sorted(ROOT.glob("examples/**/*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_the_example_needs_the_public_surface_alone(path: Path) -> None:
    assert imported(path) <= PUBLIC


def test_every_public_name_is_there() -> None:
    import fortress

    assert all(getattr(fortress, name) is not None for name in fortress.__all__)
    with pytest.raises(AttributeError):
        _ = fortress.runtime
