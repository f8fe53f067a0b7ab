from __future__ import annotations

import fcntl
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fortress.clock import FixedClock
from fortress.errors import CannotStart
from fortress.security import keyfile
from fortress.security.keyfile import FileKeys, open_keyring
from fortress.security.keys import KeyRing, new_ring
from fortress.settings import Settings


def test_development_makes_a_ring_once_and_only_its_owner_may_read_it(tmp_path: Path, clock: FixedClock) -> None:
    settings = Settings.model_validate({"state_dir": tmp_path / "deep" / "state"})
    first = open_keyring(settings, clock)
    path = settings.state_dir / "keyring.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert open_keyring(settings, clock).signer().kid == first.signer().kid


def test_a_named_ring_that_is_missing_stops_the_start(tmp_path: Path, clock: FixedClock) -> None:
    settings = Settings.model_validate({"state_dir": tmp_path, "keyring": str(tmp_path / "nowhere.json")})
    with pytest.raises(CannotStart, match=r"nowhere\.json can't be used: No such file"):
        open_keyring(settings, clock)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o610])
def test_a_ring_that_others_can_reach_is_refused(keys: FileKeys, tmp_path: Path, clock: FixedClock, mode: int) -> None:
    (tmp_path / "keyring.json").chmod(mode)
    with pytest.raises(CannotStart, match="reached by other users") as refused:
        KeyRing(keys, clock)
    assert "chmod 600" in refused.value.hint


def test_many_processes_that_start_at_once_make_one_ring(tmp_path: Path, clock: FixedClock) -> None:
    def start(_: int) -> bool:
        return FileKeys(tmp_path / "keyring.json").ensure(lambda: new_ring(clock.now()))

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(start, range(16))) == 1


def test_rotations_at_once_lose_none(keys: FileKeys, tmp_path: Path, clock: FixedClock) -> None:
    with ThreadPoolExecutor(8) as pool:
        signed = set(pool.map(lambda _: KeyRing(FileKeys(tmp_path / "keyring.json"), clock).rotate_secrets(), range(8)))
    assert {master.id for master in keys.load().masters} == set(range(1, 10))
    assert max(signed) == 9


def test_a_change_keeps_the_mode_and_leaves_no_draft(ring: KeyRing, tmp_path: Path) -> None:
    ring.rotate()
    assert [path.name for path in tmp_path.iterdir()] == ["keyring.json"]
    assert stat.S_IMODE((tmp_path / "keyring.json").stat().st_mode) == 0o600


def test_a_write_that_fails_leaves_the_old_ring(keys: FileKeys, tmp_path: Path, clock: FixedClock, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (tmp_path / "keyring.json").read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CannotStart, match="No space left"):
        KeyRing(keys, clock).rotate()
    assert (tmp_path / "keyring.json").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["keyring.json"]


def test_a_change_that_another_process_blocks_gives_up(
    keys: FileKeys, tmp_path: Path, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyfile, "_LOCK_PAUSE", 0)
    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        with pytest.raises(CannotStart, match="being changed by another process"):
            KeyRing(keys, clock).rotate()
    finally:
        os.close(folder)
    KeyRing(keys, clock).rotate()


def test_a_change_that_makes_the_ring_unusable_is_not_written(keys: FileKeys, clock: FixedClock) -> None:
    with pytest.raises(CannotStart, match="not usable"):
        keys.change(lambda content: content.with_signing(()))
    KeyRing(keys, clock)


def test_a_state_folder_that_can_not_be_made_is_one_clear_line(tmp_path: Path, clock: FixedClock) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotStart, match="can't be used"):
        open_keyring(Settings.model_validate({"state_dir": tmp_path / "file" / "state"}), clock)
