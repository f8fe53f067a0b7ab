"""Reads answers closely: raw bytes, and headers that come more than once."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Final

from fortress.testing.client import Reply

_LENGTH: Final = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_STATUS: Final = re.compile(rb"HTTP/1\.[01] (\d{3})")
_HEAD_END: Final = b"\r\n\r\n"


def statuses(raw: bytes) -> list[int]:
    """The status of each answer in these bytes, in order; bodies are skipped by their length."""
    found = []
    while match := _STATUS.match(raw):
        head, _, rest = raw.partition(_HEAD_END)
        length = _LENGTH.search(head)
        found.append(int(match[1]))
        raw = rest[int(length[1]) if length else 0 :]
    if raw:
        found.append(0)
    return found


def header_values(reply: Reply) -> dict[str, list[str]]:
    """Every value of every header."""
    values: dict[str, list[str]] = defaultdict(list)
    for name, value in reply.raw_headers:
        values[name.decode()].append(value.decode("latin-1"))
    return values
