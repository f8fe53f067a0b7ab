"""Reading a URL that somebody else has chosen, into exactly what is asked."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address
from typing import Final
from urllib.parse import SplitResult, urlsplit

import msgspec

from fortress.errors import FortressError

LONGEST: Final = 2000
_HTTPS: Final = 443
_HTTP: Final = 80
_PRINTABLE: Final = re.compile(r"[!-~]+")
_LABEL: Final = r"(?!-)[a-z0-9_-]{1,63}(?<!-)"
_NAME: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
# What libraries read as IPv4 in one of its old spellings: 2130706433, 0x7f.1, 017700000001.
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")


class RefusedDestination(FortressError):
    """This URL is not asked. Its text says why, and holds nothing of it."""


class Destination(msgspec.Struct, frozen=True):
    """Where a request goes. Its `repr` shows nothing, for paths and queries hold tokens.

    Attributes:
        host: a name in lower case, or an address without brackets.
        target: path and query.
        plain: without TLS.
    """

    host: str
    port: int
    target: str
    plain: bool

    def __repr__(self) -> str:
        return "<Destination>"

    @property
    def address(self) -> str | None:
        """The host where it is an address already."""
        return self.host if _is_address(self.host) else None

    @property
    def authority(self) -> str:
        """As in the Host header: the port only where it is not the usual one."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (_HTTP if self.plain else _HTTPS) else f"{host}:{self.port}"


def read_destination(url: str, *, plain: bool = False) -> Destination:
    """The URL's parts.

    Args:
        url: as somebody wrote it.
        plain: whether http:// is read too.

    Raises:
        RefusedDestination: it is no URL of https, or names a person, a fragment, or its host in a way that libraries read differently.
    """
    if len(url) > LONGEST or not _PRINTABLE.fullmatch(url) or "\\" in url:
        raise RefusedDestination(f"a URL has at most {LONGEST} characters, all of them visible ASCII")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise RefusedDestination("this is no URL") from None
    if parts.scheme != "https" and not (plain and parts.scheme == "http"):
        raise RefusedDestination("this is no https:// URL")
    if "@" in parts.netloc or "#" in url:
        raise RefusedDestination("a URL with a user's name or a fragment is not asked")
    usual = _HTTP if parts.scheme == "http" else _HTTPS
    return Destination(_host(parts), _port(port, usual), _target(parts), parts.scheme == "http")


def _port(port: int | None, usual: int) -> int:
    if port == 0:
        raise RefusedDestination("there is no port 0")
    return usual if port is None else port


def _host(parts: SplitResult) -> str:
    host = (parts.hostname or "").removesuffix(".")
    if _is_address(host):
        return host
    if len(host) > 253 or not _NAME.fullmatch(host) or _NUMBER.fullmatch(host.rpartition(".")[2]):
        raise RefusedDestination("this is no host's name")
    return host


def _is_address(host: str) -> bool:
    if "%" in host:
        # An address of one link.
        return False
    try:
        return bool(IPv6Address(host) if ":" in host else IPv4Address(host))
    except ValueError:
        return False


def _target(parts: SplitResult) -> str:
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
