"""The published documents hold: with all its checks schemathesis finds nothing in a real server that they don't say."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
from tests.faults.harness.projects import GENEROUS, write_generous
from tests.faults.harness.serving import Server

from fortress.testing.plugin import ADMIN, ADMIN_PASSWORD

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

HERE: Final = Path(__file__).parent
PATIENCE: Final = 270
EXAMPLES: Final = 8


@pytest.fixture(scope="module")
def generous(serve: Callable[..., Server], tmp_path_factory: pytest.TempPathFactory) -> Server:
    """The shop under limits that no tool reaches."""
    return serve(target=GENEROUS, directory=write_generous(tmp_path_factory.mktemp("project")), limit_store="memory")


def check(server: Server, version: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "SCHEMATHESIS_HOOKS": "schemathesis_hooks",
        "PYTHONPATH": os.pathsep.join((str(HERE), os.environ.get("PYTHONPATH", ""))),
        "SUBJECT_URL": server.url,
        "SUBJECT_EMAIL": ADMIN,
        "SUBJECT_PASSWORD": ADMIN_PASSWORD,
    }
    tool = [sys.executable, "-m", "schemathesis.cli", f"--config-file={HERE / 'schemathesis.toml'}", "run", "--checks=all", "--no-color"]
    fixed = ["--seed=1", f"--max-examples={EXAMPLES}", "--suppress-health-check=all", "--continue-on-failure", "--warnings=off"]
    document = f"{server.url}/api/v{version}/openapi.json"
    return subprocess.run(
        [*tool, *fixed, *arguments, document], env=environment, cwd=server.state_dir, capture_output=True, text=True, timeout=PATIENCE
    )


@pytest.mark.parametrize(("version", "selected"), [(1, ()), (2, ("--include-path-regex=products|orders",))], ids=["v1", "v2's own"])
def test_the_document_says_all_that_the_server_does(generous: Server, version: int, selected: tuple[str, ...]) -> None:
    found = check(generous, version, *selected)
    assert found.returncode == 0, found.stdout[-12_000:] + found.stderr[-2000:]
    assert " 0 generated" not in found.stdout


def test_no_fault_was_logged_while_it_was_looked_for(generous: Server) -> None:
    """Runs last in the module: what the checks above did left no unforeseen error behind."""
    faults = [line for line in generous.log_lines() if line["level"] == "error" or line.get("status") == 500]
    assert not faults
