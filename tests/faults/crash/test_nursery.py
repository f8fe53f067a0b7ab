"""Servers from a nursery are processes like others: their ends are known, and none outlives it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import psutil
from tests.faults.crash.conftest import LEDGER
from tests.faults.harness.serving import ROOT

from fortress.testing.nursery import Nursery
from fortress.testing.processes import ServerProcess


def test_a_command_says_what_it_says_and_ends_as_it_ends(nursery: Nursery) -> None:
    good = nursery.run(["check", LEDGER], dict(os.environ), 30)
    assert (good.returncode, good.stderr) == (0, "")
    assert good.stdout != ""
    bad = nursery.run(["check", "nowhere:app"], dict(os.environ), 30)
    assert (bad.returncode, bad.stdout) == (1, "")
    assert "there is no module 'nowhere'" in bad.stderr


def test_what_it_is_told_in_the_environment_is_its_own(nursery: Nursery) -> None:
    refused = nursery.run(["check", LEDGER], {**os.environ, "FORTRESS_FAILPOINT": "nowhere:kill"}, 30)
    assert "there is no nowhere" in refused.stderr
    assert nursery.run(["check", LEDGER], dict(os.environ), 30).returncode == 0


def test_a_server_dies_by_signals_as_others_do(server_process: ServerProcess) -> None:
    server_process.start()
    assert server_process.stop() == 0
    server_process.start()
    server_process.kill9()
    assert server_process.wait() == -signal.SIGKILL


def test_nobody_outlives_the_nursery(tmp_path: Path) -> None:
    """It has imported next to nothing, so its child is still at that when it has to go."""
    with Nursery("json", ROOT) as own:
        child = psutil.Process(own.bear(["check", LEDGER], dict(os.environ), tmp_path / "out", tmp_path / "log").pid)
    assert psutil.wait_procs([child], 10)[1] == []
