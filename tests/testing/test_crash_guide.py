"""The guide's project as a reader would make it: its snippets in a folder, its tests run by its own pytest."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

GUIDE: Final = Path(__file__).parents[2] / "docs" / "guide-crash-tests.md"
INI: Final = """[pytest]
asyncio_mode = auto
asyncio_default_fixture_loop_scope = function
filterwarnings = error
pythonpath = .
"""


def snippets() -> list[str]:
    return re.findall(r"```python\n(.*?)```", GUIDE.read_text("utf-8"), re.DOTALL)


@pytest.mark.faults
@pytest.mark.timeout(120)
def test_the_shop_is_crashed_as_the_guide_does_it(tmp_path: Path) -> None:
    """More than 5 s: it starts servers, and kills them."""
    for text in snippets():
        if name := re.match(r"# (\w+\.py)\n", text):
            (tmp_path / name[1]).write_text(text)
    (tmp_path / "pytest.ini").write_text(INI)
    plugins = ["-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:schemathesis"]
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--crash-seeds", "1", *plugins, "-k", "embedded"],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "1 passed" in run.stdout


def test_the_history_of_the_guide_is_as_it_says() -> None:
    (history,) = [text for text in snippets() if "anomalies(" in text]
    exec(history, {})
