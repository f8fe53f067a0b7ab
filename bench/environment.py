"""What the peers need: their own Python environment and, where there is node, their own modules."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent
OURS: Final = Path(sys.executable)
PEERS: Final = ROOT / ".venv-bench" / "bin" / "python"
_LOCK: Final = ROOT / "bench" / "requirements.txt"
FASTIFY: Final = ROOT / "bench" / "peers" / "fastify"


class NotInstalled(RuntimeError):
    """A peer's dependencies could not be installed; the message says which and why."""


def install_python_peers() -> None:
    """Make .venv-bench from the lock, unless it is there already.

    Raises:
        NotInstalled: uv is missing, or the packages can't be had.
    """
    directory = PEERS.parent.parent
    if _stamp(directory) == _digest(_LOCK):
        return
    uv = [sys.executable, "-m", "uv"]
    _run([*uv, "venv", "--quiet", "--clear", "--python", str(Path(sys.executable).resolve()), str(directory)], "the peers' environment")
    _run([*uv, "pip", "install", "--quiet", "--python", str(PEERS), "--require-hashes", "-r", str(_LOCK)], "the peers' packages")
    (directory / "lock.sha256").write_text(_digest(_LOCK), "ascii")


def install_fastify() -> None:
    """Fetch Fastify's modules from its lock, unless they are there already.

    Raises:
        NotInstalled: there is no node, or the modules can't be had.
    """
    if shutil.which("node") is None or shutil.which("npm") is None:
        raise NotInstalled("node not found (apt install nodejs npm)")
    lock, modules = FASTIFY / "package-lock.json", FASTIFY / "node_modules"
    if _stamp(modules) == _digest(lock):
        return
    _run(["npm", "ci", "--no-fund", "--no-audit", "--loglevel=error", "--prefix", str(FASTIFY)], "Fastify's modules")
    (modules / "lock.sha256").write_text(_digest(lock), "ascii")


def _stamp(directory: Path) -> str:
    stamp = directory / "lock.sha256"
    return stamp.read_text("ascii") if stamp.exists() else ""


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _run(command: list[str], what: str) -> None:
    try:
        subprocess.run(command, check=True, timeout=600, capture_output=True, text=True)
    except subprocess.CalledProcessError as error:
        last = (error.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise NotInstalled(f"{what} could not be installed: {last}") from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotInstalled(f"{what} could not be installed: {error}") from None
