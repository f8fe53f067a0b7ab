"""Which passwords are good enough (ASVS V6.2; NIST SP 800-63B §3.1.1.2): long, and not easily guessed. No other rule."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from importlib.resources import files
from itertools import pairwise
from typing import Final

from fortress.errors import FieldError

MAX_LENGTH: Final = 1024
_COMMON_FILE: Final = "common_passwords.txt"
_COMMENT: Final = b"#"
_LETTERS: Final = re.compile(r"[^\W_]+")
_SHORTEST_WORD: Final = 3
_LEAST_BESIDE_WORDS: Final = 5


class CommonPasswords:
    """The passwords that everybody tries first, held as one block of text: small, and quick enough for a sign-up."""

    def __init__(self, passwords: Iterable[bytes]) -> None:
        self._lines = b"\n" + b"\n".join(passwords) + b"\n"

    def __contains__(self, password: str) -> bool:
        folded = password.casefold().encode("utf-8", "surrogatepass")
        return b"\n" not in folded and b"\n" + folded + b"\n" in self._lines

    def __len__(self) -> int:
        return self._lines.count(b"\n") - 1


def packaged_common_passwords() -> CommonPasswords:
    """The list that comes with Fortress: 11,611 of at least eight characters (ASVS V6.2.4 asks for 3,000)."""
    lines = files(__package__ or "fortress.security").joinpath(_COMMON_FILE).read_bytes().splitlines()
    return CommonPasswords(line for line in lines if line and not line.startswith(_COMMENT))


class PasswordPolicy:
    """Says what is wrong with a new password; everything at once.

    Args:
        minimum: characters that it must have (ASVS V6.2.1: at least 8).
        site: words that everybody connects with this site (ASVS V6.1.2, V6.2.11).
        common: passwords that are refused however long they are.
    """

    def __init__(self, minimum: int, site: Iterable[str], common: CommonPasswords) -> None:
        self._minimum = minimum
        self._site = tuple(site)
        self._common = common

    def check(self, password: str, *, email: str = "", name: str = "", field: str = "/password") -> list[FieldError]:
        """What is wrong with `password` for this person, empty when it may be used. It is never part of a message."""
        return [FieldError(field, message, code) for code, message in self._faults(password, (email, name, *self._site))]

    def _faults(self, password: str, context: Iterable[str]) -> Iterator[tuple[str, str]]:
        if len(password) > MAX_LENGTH:
            yield "password.too_long", f"Use at most {MAX_LENGTH} characters."
            return
        if len(password) < self._minimum:
            yield "password.too_short", f"Use at least {self._minimum} characters."
        if password in self._common or _is_monotonous(password):
            yield "password.common", "Too many people use this password; it is among the first that are tried."
        if _is_about(password, context):
            yield "password.personal", "Do not build the password from your name, your e-mail address or this site's name."


def _is_monotonous(password: str) -> bool:
    """Whether each character follows from the one before by the same step: aaaaaaaa, 12345678, hgfedcba."""
    steps = {ord(after) - ord(before) for before, after in pairwise(password)}
    return len(steps) == 1 and abs(steps.pop()) <= 1


def _is_about(password: str, context: Iterable[str]) -> bool:
    """Whether little is left of the password without the words that anybody who knows this person would try."""
    rest = password.casefold()
    words = sorted({word for text in context for word in _words(text)}, key=len, reverse=True)
    for word in words:
        rest = rest.replace(word, "")
    return len(rest) < min(_LEAST_BESIDE_WORDS, len(password))


def _words(text: str) -> Iterator[str]:
    folded = text.casefold()
    parts = _LETTERS.findall(folded)
    for word in (*parts, folded, "".join(parts)):
        if len(word) >= _SHORTEST_WORD:
            yield word
