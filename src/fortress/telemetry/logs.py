"""Logs: one line for one record, JSON or for a terminal, with the request's id in it, from every library there is."""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from types import TracebackType
from typing import Any, Final

import msgspec
import structlog

from fortress.clock import Clock, SystemClock
from fortress.context import current
from fortress.settings import Settings
from fortress.telemetry.redaction import clean_fields, clean_text, clean_trace
from fortress.telemetry.sink import Sink

MAX_LINE: Final = 16_384
_MAX_ACCESS_LINE: Final = 2048
# They log the address of every request that they make; which other services we ask, and for what, is not for our log.
_TALKATIVE: Final = ("httpx", "httpcore", "botocore", "aiobotocore")
_LEVELS: Final = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
_STDERR: Final = 2
_encode: Final = msgspec.json.Encoder(enc_hook=str, decimal_format="number").encode

Render = Callable[[dict[str, Any]], bytes]
Fields = MutableMapping[str, Any]


def configure_logging(settings: Settings, *, clock: Clock | None = None, descriptor: int = _STDERR) -> Logs:
    """Send everything that is logged in this process, and in those forked from it, to one place in one shape.

    Args:
        settings: log_level and log_format.
        clock: for the time of each line.
        descriptor: where to; standard output is left to what commands say.
    """
    terminal = settings.log_format == "console" or (settings.log_format == "auto" and os.isatty(descriptor))
    logs = Logs(clock or SystemClock(), _LEVELS[settings.log_level], _console if terminal else _encode, descriptor)
    structlog.configure(
        processors=[logs.process],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[settings.log_level]),
        logger_factory=logs.logger,
        cache_logger_on_first_use=False,
    )
    logging.root.handlers[:] = [_Bridge(logs)]
    logging.root.setLevel(_LEVELS[settings.log_level])
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(max(logging.WARNING, _LEVELS[settings.log_level]))
    logging.captureWarnings(True)
    sys.excepthook = logs.crashed
    threading.excepthook = lambda crash: logs.crashed(crash.exc_type, crash.exc_value, crash.exc_traceback)
    atexit.register(logs.close)
    return logs


class Logs:
    """The way of a record to the sink.

    Args:
        level: of the standard library's numbers; what is below is not written.
        render: the finished record as one line.
        descriptor: the open file to write to.
    """

    def __init__(self, clock: Clock, level: int, render: Render, descriptor: int) -> None:
        self._now = clock.now
        self._render = render
        self._sink = Sink(descriptor, self._lost)
        self._put = self._sink.put
        self._quiet = level > logging.INFO
        self._personal: frozenset[str] = frozenset()
        self._worker = os.getpid()
        os.register_at_fork(after_in_child=self._in_child)

    @property
    def dropped(self) -> int:
        """Lines lost since this process began, because nobody read them fast enough."""
        return self._sink.dropped

    def hide(self, names: Iterable[str]) -> None:
        """From now on hide what is logged by one of these names: personal data has them (ASVS V16.2.5)."""
        self._personal |= {name.lower() for name in names}

    def access_line(self, fields: dict[str, Any]) -> None:
        """The line of one answered request. The lean way: the fields are ours, so nothing is searched for secrets.

        Args:
            fields: flat and ready; `status` among them.
        """
        failed = fields["status"] >= 500
        if self._quiet and not failed:
            return
        record = {"ts": self._now(), "level": "error" if failed else "info", **fields, "worker": self._worker}
        line = self._render(record)
        self._put(line if len(line) < _MAX_ACCESS_LINE else self._render(clean_fields(record)))

    def process(self, _logger: object, level: str, fields: Fields) -> bytes:
        """The only processor of structlog: the record, whole."""
        return self.line(level, fields)

    def line(self, level: str, fields: Fields) -> bytes:
        """A record with time, level and request, cleaned and rendered. Never raises."""
        try:
            trace = _trace(fields.pop("exc_info", None))
            event = fields.pop("event", "")
            record = {"ts": self._now(), "level": _plain_level(level), "event": clean_text(str(event)), **_context()}
            record |= clean_fields(fields, self._personal)
            if trace:
                record["exception"] = clean_trace(trace)
            record["worker"] = self._worker
            line = self._render(record)
            return line if len(line) <= MAX_LINE else self._render(_shortened(record))
        except Exception as error:
            return self._render({"ts": self._now(), "level": "error", "event": "log.failed", "error": type(error).__name__})

    def put(self, line: bytes) -> None:
        """Hand a rendered line to the sink."""
        self._put(line)

    def logger(self, *_names: Any) -> _Output:
        """The logger factory of structlog; names make no difference."""
        return _Output(self._put)

    def crashed(self, kind: type[BaseException], error: BaseException | None, _trace: TracebackType | None = None) -> None:
        """An exception that nobody caught: its line, and everything before it, before the process ends."""
        if error is not None and not issubclass(kind, KeyboardInterrupt):
            self._put(self.line("critical", {"event": "process.crashed", "exc_info": error}))
        self.close()

    def close(self) -> None:
        """Write what is in the buffer; gives up after a second."""
        self._sink.flush()

    def _lost(self, count: int) -> bytes:
        return self.line("error", {"event": "log.dropped", "lines": count})

    def _in_child(self) -> None:
        self._worker = os.getpid()


class _Output:
    """What structlog calls with a finished line."""

    def __init__(self, put: Callable[[bytes], None]) -> None:
        self.msg = self.debug = self.info = self.warning = self.warn = put
        self.error = self.exception = self.critical = self.fatal = self.failure = put


class _Bridge(logging.Handler):
    """The standard library's records (granian, asyncio, alembic, warnings), in our shape."""

    def __init__(self, logs: Logs) -> None:
        super().__init__()
        self._logs = logs

    def emit(self, record: logging.LogRecord) -> None:
        try:
            event = record.getMessage()
        except Exception:
            event = str(record.msg)
        fields: Fields = {"event": event, "logger": record.name, "exc_info": record.exc_info}
        self._logs.put(self._logs.line(record.levelname, fields))

    def createLock(self) -> None:  # noqa: N802 - logging's name
        # The sink has its own; logging's would be held by another thread in a forked child.
        self.lock = None


_COLOURS: Final = {"debug": "2", "info": "32", "warning": "33", "error": "31", "critical": "1;31"}


def _console(record: dict[str, Any]) -> bytes:
    """`12:00:01 info   event  key=value …` and a traceback below; cleaned already, so no value can hold a terminal sequence."""
    rest = dict(record)
    at, level, event = rest.pop("ts"), rest.pop("level"), rest.pop("event", "")
    trace = rest.pop("exception", None)
    rest.pop("worker", None)
    pairs = " ".join(f"\x1b[2m{key}=\x1b[0m{_shown(value)}" for key, value in rest.items() if value is not None)
    line = f"\x1b[2m{at:%H:%M:%S}\x1b[0m \x1b[{_COLOURS.get(level, '0')}m{level:<7}\x1b[0m \x1b[1m{event}\x1b[0m {pairs}".rstrip()
    return (f"{line}\n{trace.rstrip()}" if trace else line).encode(errors="replace")


def _shown(value: Any) -> str:
    return clean_text(value) if isinstance(value, str) else str(value)


def _context() -> Mapping[str, Any]:
    context = current.get()
    if context is None:
        return {}
    known = {"request_id": context.request_id}
    if not context.principal.anonymous:
        known["principal"] = str(context.principal.id)
    if context.job is not None:
        known["job"] = context.job
    return known


def _trace(info: Any) -> str:
    """The traceback that `exc_info` stands for, in any of the forms that logging and structlog allow."""
    if isinstance(info, tuple):
        info = info[1]
    elif info is True or info == 1:
        info = sys.exc_info()[1]
    return "".join(traceback.format_exception(info)) if isinstance(info, BaseException) else ""


def _plain_level(level: str) -> str:
    name = level.lower()
    return {"exception": "error", "warn": "warning", "fatal": "critical"}.get(name, name)


def _shortened(record: dict[str, Any]) -> dict[str, Any]:
    """What is left of a record that is too long: who, when, what, and the most of each text that fits."""
    kept = ("ts", "level", "event", "request_id", "principal", "logger", "worker")
    short = {key: value for key, value in record.items() if key in kept}
    if "exception" in record:
        short["exception"] = record["exception"]
    return short | {"shortened": True}
