"""What may stand in a log: no secret, no personal data, no control characters, and nothing without a bound (ASVS V16.2.5, V16.4.1)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from typing import Any, Final
from uuid import UUID

HIDDEN: Final = "[hidden]"
MAX_TEXT: Final = 2048
MAX_TRACE: Final = 8192
MAX_ITEMS: Final = 50
MAX_DEPTH: Final = 5

_SECRET_ANYWHERE: Final = re.compile(
    r"passw|secret|authorization|cookie|api[-_]?key|private[-_]?key|credential|signature|passphrase|pepper", re.IGNORECASE
).search
_SECRET_WORDS: Final = frozenset((
    "token", "tokens", "jwt", "bearer", "pin", "pwd", "otp", "totp", "dsn", "email", "emails", "mail", "phone", "birthdate", "iban"
))  # fmt: skip
_WORDS: Final = re.compile(r"[A-Za-z][a-z]*|[0-9]+").findall
_SECRET_VALUES: Final = re.compile(
    r"""
    \b fort_[A-Za-z0-9_-]+                                   # API keys
    | \b fr_[A-Za-z0-9_.-]{8,}                               # refresh tokens
    | \b eyJ[A-Za-z0-9_-]{6,} (?:\.[A-Za-z0-9_-]*){0,4}      # JWS and JWE
    | (?i: (?<=password=) | (?<=passwd=) | (?<=secret=) | (?<=token=) | (?<=key=) | (?<=code=) ) [^\s&'",)\[]+
    | (?<=Bearer[ ])\S+ | (?<=Basic[ ])[A-Za-z0-9+/=]{6,}
    | (?<=://)[^\s/@:]{0,256}:[^\s/@]{1,256}(?=@)            # user:password in a URL
    | [A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,8}  # e-mail addresses
    | \$argon2[^\s'"]+
    | -----BEGIN[ ][A-Z ]{0,40}PRIVATE[ ]KEY-----.*?(?:-----END[ ][A-Z ]{0,40}PRIVATE[ ]KEY-----|\Z)
    """,
    re.VERBOSE | re.DOTALL,
).sub
# C0 but for what JSON escapes anyway, DEL, C1 (one of them starts terminal sequences), line separators, direction overrides.
_CONTROLS: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]").sub
_CONTROLS_IN_TRACE: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]").sub
_ESCAPES: Final = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def clean_fields(fields: Mapping[str, Any], personal: frozenset[str] = frozenset()) -> dict[str, Any]:
    """A log record's fields, fit to be written; what has the name of personal data, in lower case, is hidden as secrets are."""
    return {_text(str(key), 100): _field(str(key), value, 0, personal) for key, value in _some(fields.items())}


def clean_text(text: str) -> str:
    """One line without secrets, at most MAX_TEXT characters."""
    return _text(_SECRET_VALUES(HIDDEN, text[: 2 * MAX_TEXT]), MAX_TEXT)


def clean_trace(text: str) -> str:
    """A traceback without secrets; keeps its lines, and its beginning and end when it is long."""
    if len(text) > MAX_TRACE:
        text = f"{text[: MAX_TRACE // 4]}\n…\n{text[-MAX_TRACE * 3 // 4 :]}"
    return _CONTROLS_IN_TRACE(_escape, _SECRET_VALUES(HIDDEN, text))


def _field(key: str, value: Any, depth: int, personal: frozenset[str]) -> Any:
    hidden = value is not None and (key.lower() in personal or _names_a_secret(key))
    return HIDDEN if hidden else _value(value, depth, personal)


def _names_a_secret(key: str) -> bool:
    return _SECRET_ANYWHERE(key) is not None or any(word.lower() in _SECRET_WORDS for word in _WORDS(key))


def _value(value: Any, depth: int, personal: frozenset[str]) -> Any:
    if value is None or isinstance(value, (bool, int, float, UUID, datetime, date)):
        return value
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return f"[{len(value)} bytes]"
    if depth < MAX_DEPTH:
        if isinstance(value, Mapping):
            return {_text(str(key), 100): _field(str(key), item, depth + 1, personal) for key, item in _some(value.items())}
        if isinstance(value, (list, tuple, set, frozenset)):
            return [_value(item, depth + 1, personal) for item in _some(value)]
    return clean_text(_said(value))


def _said(value: Any) -> str:
    try:
        return f"{type(value).__name__}: {value}" if isinstance(value, BaseException) else str(value)
    except Exception:
        return f"[unprintable {type(value).__name__}]"


def _some(items: Iterable[Any]) -> Iterable[Any]:
    for count, item in enumerate(items):
        if count == MAX_ITEMS:
            return
        yield item


def _text(text: str, bound: int) -> str:
    return _CONTROLS(_escape, text if len(text) <= bound else f"{text[:bound]}…")


def _escape(found: re.Match[str]) -> str:
    character = found.group()
    return _ESCAPES.get(character) or f"\\u{ord(character):04x}"
