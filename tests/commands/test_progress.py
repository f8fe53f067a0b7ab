"""How far long work is, for people at a terminal and for those who read a log."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator

import msgspec
import pytest
from rich.console import Console

from fortress.commands import progress
from fortress.commands.progress import followed, meter


class Step(msgspec.Struct, frozen=True):
    done: int
    total: int


async def steps(*done: int) -> AsyncIterator[Step]:
    for number in done:
        yield Step(number, 10)


async def test_without_a_terminal_the_first_and_the_last_are_lines(capsys: pytest.CaptureFixture[str]) -> None:
    assert await followed("wrapping", steps(2, 4, 6, 8, 10)) == 10
    assert capsys.readouterr().err.splitlines() == ["· wrapping: 2 of 10", "· wrapping: 10 of 10"]


async def test_what_takes_long_says_so_every_few_seconds(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_LINE_SECONDS", 0)
    await followed("wrapping", steps(2, 4, 10))
    assert len(capsys.readouterr().err.splitlines()) == 3


async def test_nothing_to_do_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert await followed("wrapping", steps()) == 0
    assert capsys.readouterr().err == ""


def test_on_a_terminal_it_is_a_bar() -> None:
    shown = io.StringIO()
    with meter("wrapping", Console(file=shown, force_terminal=True, width=80)) as bar:
        bar.show(5, 10)
        bar.show(10, 10)
    assert "10/10" in shown.getvalue()
    assert "wrapping" in shown.getvalue()
