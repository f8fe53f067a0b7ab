"""The guide's snippets, run."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from tests.domains.conftest import World

from fortress.domains.notifications.contract import Notifications
from fortress.mail import Kinds, Templates
from fortress.security import SYSTEM

GUIDE = (Path(__file__).parents[3] / "docs" / "guide-notifications.md").read_text("utf-8")


def snippets(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", GUIDE, re.DOTALL)


async def test_the_guide_tells_somebody(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    declared, telling, _ = snippets("python")
    (tmp_path / "loans_guide.py").write_text(declared + telling)
    monkeypatch.syspath_prepend(tmp_path)
    there: Any = importlib.import_module("loans_guide")
    (words,) = snippets("jinja")
    folder = tmp_path / "loans"
    folder.mkdir()
    name = re.match(r"\{# (\S+) #\}\n", words)
    assert name
    (folder / name[1]).write_text(words[name.end() :])
    kinds = Kinds([*((kind.domain, kind) for kind in world.assembly.kinds.values()), ("loans", there.DUE)])
    templates = Templates({**world.assembly.template_folders(), "loans": folder}, None, {"site": "S", "origin": "", "account_url": ""})
    templates.check(kinds)
    world.container.add(Kinds, kinds)
    world.container.add(Templates, templates)
    ann = await world.somebody()
    for _ in range(2):
        async with world.database.unit(SYSTEM) as unit:
            await there.remind(unit, world.get(Notifications), ann, UUID(int=7))
    await world.posted()
    del sys.modules["loans_guide"]
    assert [mail.subject for mail in world.letters.sent[1:]] == ["The Castle is due on 2026-12-01"]


async def test_every_template_of_ours_is_in_order(world: World) -> None:
    world.get(Templates).check(world.get(Kinds))
