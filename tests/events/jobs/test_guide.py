"""The guide's project as a reader would make it, and its test, over a database that is there already."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import pytest

from fortress.clock import Clock, Ids
from fortress.data import Database
from fortress.data.roles import APP_ROLE
from fortress.security.wrapping import Wrapping
from fortress.settings import Settings
from fortress.testing.jobs import Jobs
from fortress.testing.rollback import RolledBackDatabase

GUIDE: Final = Path(__file__).parents[3] / "docs" / "guide-jobs.md"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The guide's modules; the one of its tests."""
    monkeypatch.syspath_prepend(str(tmp_path))
    for text in re.findall(r"```python\n(.*?)```", GUIDE.read_text("utf-8"), re.DOTALL):
        if name := re.match(r"# (\w+\.py)\n", text):
            (tmp_path / name[1]).write_text(text)
    yield importlib.import_module("test_club")
    monkeypatch.delitem(sys.modules, "club")
    monkeypatch.delitem(sys.modules, "test_club")


async def test_the_guides_project_does_what_the_guide_says(project: ModuleType, settings: Settings, service_database_url: str) -> None:
    """The project has no tables of its own, so the shop's database serves it."""
    app: Any = project.project
    async with app.opened(settings) as runtime:
        container = runtime.container
        shared: dict[str, Any] = {"clock": container.get(Clock), "ids": container.get(Ids), "wrapping": container.get(Wrapping)}
        async with RolledBackDatabase(service_database_url, settings, secret=bytes(32), role=APP_ROLE, **shared) as database:
            container.add(Database, database)
            await project.test_a_new_member_is_welcomed(container, database, Jobs(app.assemble().jobs, lambda: container))
    assert [job.schedule for job in app.assemble().jobs if job.name == "club.count_members"] != [None]
