"""Why a mail did not go out. None of them says what was in it or whose it was: they end up in logs."""

from __future__ import annotations

from fortress.errors import FortressError


class MailError(FortressError):
    """A mail did not go out.

    Attributes:
        code: what the server answered (RFC 5321 §4.2); None where it did not come to that.
    """

    def __init__(self, what: str, code: int | None = None) -> None:
        super().__init__(what if code is None else f"{what} ({code})")
        self.code = code


class MailDelayed(MailError):
    """Not now: the server is away, busy, wants it again later, or does not take mail from us. To be tried again.

    Attributes:
        uncertain: the whole message was on its way when the server fell silent, so that it may have taken it all the same.
    """

    def __init__(self, what: str, code: int | None = None, *, uncertain: bool = False) -> None:
        super().__init__(what, code)
        self.uncertain = uncertain


class MailRefused(MailError):
    """Never: the server does not take this mail, and would not take it later."""


class AddressRefused(MailRefused):
    """Never: the server says that nobody has this address, or that it can't be one."""
