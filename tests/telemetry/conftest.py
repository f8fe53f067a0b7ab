"""Logs that are written to a file of the test's own, and taken down after it."""

from __future__ import annotations

import atexit
import json
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import structlog

from fortress.clock import FixedClock
from fortress.settings import Settings
from fortress.telemetry.logs import Logs, configure_logging

NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)


class Written:
    """What the logs have written so far."""

    def __init__(self, path: Path, logs: Logs) -> None:
        self._path = path
        self.logs = logs

    def text(self) -> str:
        self.logs.close()
        return self._path.read_text()

    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text().splitlines()]

    def record(self) -> dict[str, Any]:
        (record,) = self.records()
        return record


Configure = Callable[..., Written]


@pytest.fixture
def configure(tmp_path: Path) -> Iterator[Configure]:
    """Configure logging into the test's file, with these settings."""
    hooks, handlers, level = (sys.excepthook, threading.excepthook), logging.root.handlers[:], logging.root.level
    path, configured = tmp_path / "log", list[Logs]()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def into_file(**given: object) -> Written:
        settings = Settings.model_validate({"log_format": "json"} | given)
        logs = configure_logging(settings, clock=FixedClock(NOW), descriptor=descriptor)
        configured.append(logs)
        return Written(path, logs)

    yield into_file
    for logs in configured:
        logs.close()
        atexit.unregister(logs.close)
    os.close(descriptor)
    sys.excepthook, threading.excepthook = hooks
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)
    logging.captureWarnings(False)
    structlog.reset_defaults()


@pytest.fixture
def written(configure: Configure) -> Written:
    return configure()
