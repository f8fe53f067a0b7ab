"""Forms of bytes that have exactly one spelling each: base64url without padding, fixed-width base62, lists with their lengths."""

from __future__ import annotations

import base64
from typing import Final

BASE62: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_VALUES: Final = {letter: value for value, letter in enumerate(BASE62)}


def to_base64url(value: bytes) -> str:
    """Base64url without padding (RFC 7515 §2)."""
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode("ascii")


def from_base64url(text: str) -> bytes:
    """The bytes of a canonical base64url text.

    Raises:
        ValueError: it is not base64url, or another text means the same bytes (padding, stray bits).
    """
    try:
        value = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except ValueError:
        raise ValueError("not base64url") from None
    # Decoders drop the unused low bits of the last letter, so several texts would name one token.
    if to_base64url(value) != text:
        raise ValueError("not canonical base64url")
    return value


def to_base62(number: int, width: int) -> str:
    """`number` in exactly `width` digits of BASE62.

    Raises:
        ValueError: it is negative or needs more digits.
    """
    digits = []
    rest = number
    for _ in range(width):
        rest, digit = divmod(rest, len(BASE62))
        digits.append(BASE62[digit])
    if rest:
        raise ValueError(f"does not fit in {width} digits")
    return "".join(reversed(digits))


def from_base62(text: str) -> int:
    """The number that `text` spells.

    Raises:
        ValueError: a character is not a digit of BASE62.
    """
    number = 0
    for letter in text:
        if letter not in _VALUES:
            raise ValueError("not base62")
        number = number * len(BASE62) + _VALUES[letter]
    return number


def framed(*parts: bytes) -> bytes:
    """The parts in one, their number and lengths before them (64 bit, little-endian), so that no two lists of parts give the same bytes."""
    return b"".join((_length(len(parts)), *(_length(len(part)) + part for part in parts)))


def _length(number: int) -> bytes:
    return number.to_bytes(8, "little")
