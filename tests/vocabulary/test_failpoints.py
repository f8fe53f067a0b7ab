"""Failpoints: the setting's grammar, what each action does, when it does it, and that they are off."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fortress import failpoints
from fortress.errors import CannotStart
from fortress.failpoints import AFTER_COMMIT_BEFORE_WAKE, BEFORE_COMMIT, Failpoint, FailpointError
from fortress.settings import read_settings

SOURCES = Path(failpoints.__file__).parent


@pytest.fixture(autouse=True)
def _off_again() -> Iterator[None]:
    yield
    failpoints.disarm()


async def failures(point: Failpoint, times: int) -> list[int]:
    """Which of so many times it fails."""
    failed = []
    for turn in range(1, times + 1):
        try:
            await point.reached()
        except FailpointError:
            failed.append(turn)
    return failed


async def test_what_is_not_armed_does_nothing() -> None:
    failpoints.arm("")
    assert [point.name for point in failpoints.known() if point.armed] == []
    assert await failures(BEFORE_COMMIT, 3) == []


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("before_commit:error", [1, 2, 3, 4, 5]),
        ("before_commit:error@hit=3", [3]),
        ("before_commit:error@p=1,seed=7", [1, 2, 3, 4, 5]),
        ("before_commit:error@p=0", []),
        ("before_commit:delay(0.001)", []),
        ("after_commit_before_wake:delay(0); before_commit:error@hit=1", [1]),
    ],
)
async def test_an_action_happens_when_the_setting_says(setting: str, expected: list[int]) -> None:
    failpoints.arm(setting)
    assert await failures(BEFORE_COMMIT, 5) == expected


async def test_a_seed_gives_the_same_times_again_and_another_one_others() -> None:
    found = []
    for seed in (1, 1, 2):
        failpoints.arm(f"before_commit:error@p=0.3,seed={seed}")
        found.append(await failures(BEFORE_COMMIT, 50))
    assert found[0] == found[1] != found[2]
    assert 5 < len(found[0]) < 25


async def test_arming_anew_takes_back_what_was_armed() -> None:
    failpoints.arm("before_commit:error")
    failpoints.arm("after_commit_before_wake:error")
    assert (BEFORE_COMMIT.armed, AFTER_COMMIT_BEFORE_WAKE.armed) == (False, True)


@pytest.mark.parametrize(
    "setting",
    ["before_commit", "before_commit:", "before_commit:die", "before_commit:delay", "before_commit:kill@hit=0", "before_commit:kill@p=2"],
)
def test_what_can_not_be_understood_says_how_it_should_read(setting: str) -> None:
    with pytest.raises(CannotStart, match="can't be understood") as caught:
        failpoints.check(setting)
    assert "@hit=3" in caught.value.hint


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(CannotStart, match="there is no before_comit") as caught:
        failpoints.check("before_comit:kill")
    assert all(point.name in caught.value.hint for point in failpoints.known())


def test_a_name_belongs_to_one_place() -> None:
    with pytest.raises(ValueError, match="already"):
        Failpoint("before_commit", "")
    with pytest.raises(ValueError, match="no name"):
        Failpoint("Before Commit", "")


def test_production_refuses_them(tmp_path: Path) -> None:
    given = {"FORTRESS_ENV": "production", "FORTRESS_DATABASE_URL": "postgresql://h/d", "FORTRESS_KEYRING": "ring"}
    assert read_settings(given, tmp_path).production
    with pytest.raises(CannotStart, match="FORTRESS_FAILPOINT is for tests; production refuses it"):
        read_settings({**given, "FORTRESS_FAILPOINT": "before_commit:kill"}, tmp_path)


def test_each_of_our_own_is_placed_somewhere() -> None:
    declared = [name for name, value in vars(failpoints).items() if isinstance(value, Failpoint)]
    placed = "".join(path.read_text("utf-8") for path in SOURCES.rglob("*.py") if path.name != "failpoints.py")
    assert [name for name in declared if f"await {name}.reached()" not in placed] == []


REACHED = """
import asyncio
from fortress import failpoints
failpoints.arm("before_commit:{action}")
print("armed", flush=True)
asyncio.run(failpoints.BEFORE_COMMIT.reached())
print("went on", flush=True)
"""


def reaching(action: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", REACHED.format(action=action)], stdout=subprocess.PIPE, text=True)


def test_kill_ends_the_process_as_a_power_cut_does() -> None:
    with reaching("kill") as process:
        said, _ = process.communicate(timeout=20)
    assert process.returncode == -signal.SIGKILL
    assert "went on" not in said


def test_pause_stops_the_process_until_it_is_continued() -> None:
    with reaching("pause") as process:
        waited, status = os.waitpid(process.pid, os.WUNTRACED)
        assert waited == process.pid
        assert os.WIFSTOPPED(status)
        process.send_signal(signal.SIGCONT)
        said, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    assert said.endswith("went on\n")
