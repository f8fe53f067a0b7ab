"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import psutil

_CORES: Final = sorted(os.sched_getaffinity(0))
MEASURED_CORE: Final = _CORES[0]
"""Where the measured process runs, alone."""
OTHER_CORE: Final = _CORES[-1]
"""Where the load comes from; the same core where there is only one."""


def facts() -> dict[str, str | int]:
    """The machine and what runs on it, for the report."""
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "processor": _processor(),
        "cores": len(_CORES),
        "memory_mb": psutil.virtual_memory().total // 1_000_000,
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "node": _said_by("node", "--version"),
        "commit": _said_by("git", "rev-parse", "--short", "HEAD"),
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _said_by(*command: str) -> str:
    if shutil.which(command[0]) is None:
        return "none"
    answer = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    return answer.stdout.strip() or "unknown"
