"""Every record is one line of one shape, from whichever library; nothing secret is in it (ASVS V16)."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import structlog

from fortress.context import RequestContext, current
from fortress.security.permissions import Method
from fortress.security.principal import Principal
from fortress.telemetry.redaction import HIDDEN

SOMEBODY = UUID("01890000-0000-7000-8000-000000000001")
LINE = {
    "event": "request",
    "request_id": "request-1",
    "method": "GET",
    "route": "/api/v1/orders/{id}",
    "status": 200,
    "ms": 1.25,
    "principal": str(SOMEBODY),
    "address": "192.0.2.1",
    "bytes": 312,
}


@pytest.fixture
def request_under_way() -> Iterator[None]:
    token = current.set(RequestContext("request-1", "192.0.2.1", Principal(SOMEBODY, Method.SESSION)))
    yield
    current.reset(token)


@pytest.mark.parametrize("name", ["httpx", "httpcore", "botocore", "aiobotocore"])
def test_clients_of_other_services_do_not_log_what_they_ask(written: Any, name: str) -> None:
    logging.getLogger(name).info("HTTP Request: GET https://elsewhere.example/range/ABCDE")
    logging.getLogger(name).warning("gave up")
    assert written.record()["event"] == "gave up"


def test_a_record_says_when_what_and_where(written: Any) -> None:
    structlog.get_logger("fortress.test").info("order.placed", total=12, at=SOMEBODY)
    assert written.record() == {
        "ts": "2026-01-02T03:04:05.678901Z",
        "level": "info",
        "event": "order.placed",
        "total": 12,
        "at": str(SOMEBODY),
        "worker": os.getpid(),
    }


def test_a_record_made_for_a_request_names_it_and_its_caller(written: Any, request_under_way: None) -> None:
    structlog.get_logger().warning("stock.low")
    logging.getLogger("somebody.elses").warning("said %s", "so")
    for record in written.records():
        assert (record["request_id"], record["principal"], record["level"]) == ("request-1", str(SOMEBODY), "warning")


def test_the_line_of_a_request_is_written_as_given(written: Any) -> None:
    written.logs.access_line(dict(LINE))
    expected = {"ts": "2026-01-02T03:04:05.678901Z", "level": "info", **LINE, "worker": os.getpid()}
    assert list(written.record().items()) == list(expected.items())


def test_the_line_of_a_request_is_bounded_whatever_the_client_sent(written: Any) -> None:
    written.logs.access_line(LINE | {"method": "X" * 100_000})
    assert len(written.text()) < 4096
    assert written.record()["status"] == 200


def test_the_line_of_a_failed_request_is_an_error_and_written_when_others_are_not(configure: Any) -> None:
    written = configure(log_level="warning")
    written.logs.access_line(dict(LINE))
    written.logs.access_line(LINE | {"status": 503})
    assert [(record["status"], record["level"]) for record in written.records()] == [(503, "error")]


def test_what_is_below_the_level_is_not_written(configure: Any) -> None:
    written = configure(log_level="warning")
    structlog.get_logger().info("quiet")
    logging.getLogger("quiet").info("quiet")
    structlog.get_logger().error("loud")
    assert written.record()["event"] == "loud"


def test_the_standard_librarys_records_have_the_same_shape(written: Any) -> None:
    try:
        raise LookupError("lost it")
    except LookupError:
        logging.getLogger("granian").exception("worker %d failed", 2)
    record = written.record()
    assert (record["event"], record["logger"], record["level"]) == ("worker 2 failed", "granian", "error")
    assert "LookupError: lost it" in record["exception"]


def test_a_record_that_can_not_be_formatted_is_written_all_the_same(written: Any) -> None:
    (ours,) = [handler for handler in logging.root.handlers if type(handler).__module__ == "fortress.telemetry.logs"]
    ours.handle(logging.LogRecord("sloppy", logging.WARNING, "", 0, "two %s %s", ("one",), None))
    assert written.record()["event"] == "two %s %s"


def test_warnings_are_records(written: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("old way", DeprecationWarning, stacklevel=1)
    assert "DeprecationWarning: old way" in written.record()["event"]


def _by_keyword(error: Exception) -> None:
    structlog.get_logger().error("failed", exc_info=error)


def _by_flag(_: Exception) -> None:
    structlog.get_logger().error("failed", exc_info=True)


def _by_name(_: Exception) -> None:
    structlog.get_logger().exception("failed")


@pytest.mark.parametrize("tell", [_by_keyword, _by_flag, _by_name])
def test_an_exception_is_told_with_its_trace_in_one_line(written: Any, tell: Callable[[Exception], None]) -> None:
    try:
        raise ValueError("one\ntwo")
    except ValueError as error:
        tell(error)
    assert len(written.text().splitlines()) == 1
    record = written.record()
    assert record["exception"].splitlines()[0] == "Traceback (most recent call last):"
    assert record["exception"].endswith("ValueError: one\ntwo\n")
    assert record["level"] == "error"


class Unprintable:
    def __str__(self) -> str:
        raise RuntimeError("no")


def test_a_value_that_can_not_be_shown_never_fails_the_caller(written: Any) -> None:
    loop: list[Any] = []
    loop.append(loop)
    structlog.get_logger().info("odd", value=Unprintable(), loop=loop, big=10**400, nan=float("nan"))
    assert written.record()["event"] in {"odd", "log.failed"}


@pytest.mark.parametrize(
    "hostile", ["a\r\n{}", "\x1b[2J\x1b]0;x\x07", "\x9b31m", "a\u2028b\u2029", '"}\n{"event":"forged"', "\x00", "\ud800"]
)
@pytest.mark.parametrize("format_", ["json", "console"])
def test_hostile_text_stays_in_one_record_and_moves_no_cursor(configure: Any, hostile: str, format_: str) -> None:
    written = configure(log_format=format_)
    structlog.get_logger().info(hostile, value=hostile, **{hostile: [hostile]})
    text = written.text()
    assert len(text.splitlines()) == 1
    ours = ("\x1b[2m", "\x1b[0m", "\x1b[32m", "\x1b[1m") if format_ == "console" else ()
    for sequence in ours:
        text = text.replace(sequence, "")
    assert not any(ord(character) < 32 or 127 <= ord(character) < 160 for character in text.rstrip("\n"))


def test_a_record_too_long_is_shortened_and_says_so(written: Any) -> None:
    structlog.get_logger().info("long", **{f"field{number}": "x" * 2000 for number in range(50)})
    record = written.record()
    assert (record["event"], record["shortened"]) == ("long", True)
    assert len(written.text()) < 16_384


def test_a_terminal_gets_lines_for_people(configure: Any) -> None:
    written = configure(log_format="console")
    written.logs.access_line(dict(LINE))
    structlog.get_logger().error("failed", exc_info=ValueError("why"))
    text = written.text()
    assert "03:04:05" in text
    assert "/api/v1/orders/{id}" in text
    assert text.rstrip().endswith("ValueError: why")


async def test_a_task_that_fails_unseen_is_logged(written: Any) -> None:
    asyncio.get_running_loop().call_exception_handler({"message": "it fell", "exception": KeyError("x")})
    record = written.record()
    assert (record["logger"], record["level"]) == ("asyncio", "error")


def _run(script: str, out: Path) -> subprocess.CompletedProcess[str]:
    prelude = "from fortress.settings import Settings\nfrom fortress.telemetry.logs import configure_logging\nimport structlog, os, sys\n"
    prelude += "logs = configure_logging(Settings(log_format='json'))\nlog = structlog.get_logger()\n"
    return subprocess.run([sys.executable, "-c", prelude + script], capture_output=True, text=True, cwd=out, timeout=30)


def test_what_was_logged_just_before_the_end_is_written(tmp_path: Path) -> None:
    ended = _run("log.info('last words')", tmp_path)
    assert '"event":"last words"' in ended.stderr


def test_a_crash_is_one_record_after_all_that_came_before(tmp_path: Path) -> None:
    ended = _run("log.info('before')\nraise RuntimeError('password=hunter2 fort_abcdefgh12345678')", tmp_path)
    before, crash = ended.stderr.splitlines()
    assert '"event":"before"' in before
    assert '"event":"process.crashed"' in crash
    assert "fort_abcdefgh" not in ended.stderr
    assert "hunter2" not in crash.rpartition("RuntimeError")[2]
    assert ended.returncode == 1


def test_a_forked_child_writes_its_own_lines_and_not_its_parents_again(tmp_path: Path) -> None:
    script = """
import multiprocessing
log.info('parent')
child = multiprocessing.get_context('fork').Process(target=lambda: log.info('child'))
child.start(); child.join()
log.info('after')
"""
    ended = _run(script, tmp_path)
    lines = ended.stderr.splitlines()
    assert sorted(line.split('"event":"')[1].split('"')[0] for line in lines) == ["after", "child", "parent"]
    workers = {line.rpartition('"worker":')[2] for line in lines}
    assert len(workers) == 2


def test_what_a_log_was_told_to_hide_is_hidden(written: Any) -> None:
    written.logs.hide({"Nickname"})
    structlog.get_logger().info("friend.made", nickname="planted", number=1)
    line = written.record()
    assert (line["nickname"], line["number"]) == (HIDDEN, 1)
