"""Passwords that have leaked: a filter that comes with Fortress, and a service that may be asked beyond it (ASVS V6.2.12)."""

from __future__ import annotations

import asyncio
import hashlib
import math
from collections.abc import Iterable, Iterator
from importlib.resources import files
from typing import Final, Protocol, Self

FILE: Final = "leaked_passwords.filter"
_HEADER_END: Final = b"\n\n"
_FIGURES: Final = b"# filter: "
_WORD: Final = 8


class LeakedFilter:
    """A Bloom filter: knows every password that was put in, and takes a few others for one of them. It holds no text.

    In a file it is a header of comments, one of which gives the figures, an empty line, and the bits.

    Args:
        bits: their number is a multiple of 8.
        hashes: bits that are looked at for each password.
    """

    def __init__(self, bits: bytes, hashes: int) -> None:
        self._bits = bits
        self._hashes = hashes

    @classmethod
    def of(cls, passwords: Iterable[str], *, bits: int, hashes: int) -> Self:
        """The filter of these passwords."""
        made = bytearray(math.ceil(bits / 8))
        empty = cls(bytes(made), hashes)
        for password in passwords:
            for place in empty.places(password):
                made[place >> 3] |= 1 << (place & 7)
        return cls(bytes(made), hashes)

    @classmethod
    def read(cls, content: bytes) -> Self:
        """The filter of a file.

        Raises:
            ValueError: it is not one.
        """
        header, _, bits = content.partition(_HEADER_END)
        figures = next((line for line in header.splitlines() if line.startswith(_FIGURES)), b"")
        count, _, hashes = figures.removeprefix(_FIGURES).partition(b" bits, ")
        if not bits or int(count) != len(bits) * 8:
            raise ValueError("not a filter, or not the whole of it")
        return cls(bits, int(hashes.partition(b" ")[0]))

    def written(self, header: str) -> bytes:
        """The file; `header` says where the passwords are from, in lines that begin with #."""
        figures = _FIGURES + b"%d bits, %d hashes" % (len(self._bits) * 8, self._hashes)
        return header.strip().encode() + b"\n" + figures + _HEADER_END + self._bits

    def __contains__(self, password: str) -> bool:
        return all(self._bits[place >> 3] & 1 << (place & 7) for place in self.places(password))

    def places(self, password: str) -> Iterator[int]:
        """The bits that stand for a password, in whatever case (double hashing; Kirsch and Mitzenmacher, 2006)."""
        digest = hashlib.sha256(password.casefold().encode("utf-8", "surrogatepass")).digest()
        first, step = (int.from_bytes(digest[start : start + _WORD], "big") for start in (0, _WORD))
        size = len(self._bits) * 8
        return ((first + turn * (step | 1)) % size for turn in range(self._hashes))


def packaged_filter() -> LeakedFilter:
    """The filter that comes with Fortress; what it is made of stands at its head. Reads a file of about a megabyte."""
    return LeakedFilter.read(files(__package__ or "fortress.security").joinpath(FILE).read_bytes())


class LeakService(Protocol):
    """Somebody who knows more leaked passwords than fit in a filter."""

    async def knows(self, password: str) -> bool:
        """Whether it has leaked; False when they can't be asked."""
        ...


class LeakedPasswords:
    """Says whether a password has leaked, as far as can be known here.

    Args:
        service: who is asked when the filter does not know a password; None: nobody.
    """

    def __init__(self, service: LeakService | None = None) -> None:
        self._service = service
        self._filter: LeakedFilter | None = None

    async def knows(self, password: str) -> bool:
        """Whether it is known to have leaked. Of those that have not, the filter takes fewer than 1 in 1,000 for one."""
        if self._filter is None:
            self._filter = await asyncio.to_thread(packaged_filter)
        if password in self._filter:
            return True
        return self._service is not None and await self._service.knows(password)
