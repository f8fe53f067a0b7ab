"""E-mail addresses: the one form in which they are compared."""

from __future__ import annotations

import unicodedata

from email_validator import EmailNotValidError, validate_email


def read_address(text: str) -> str:
    """The address as it is kept: Unicode in NFC, its domain in lower case (RFC 5321 §2.4, RFC 6531). Asks no network.

    Raises:
        ValueError: it is not an e-mail address.
    """
    try:
        return validate_email(text, check_deliverability=False, test_environment=True).normalized
    except EmailNotValidError:
        raise ValueError("not an e-mail address") from None


def comparable(address: str) -> str:
    """The form in which addresses are compared: nobody tells Ann@example.com from ann@example.com."""
    try:
        address = read_address(address)
    except ValueError:
        # An operator's own account may have an address that no mail could reach, admin@localhost.
        address = unicodedata.normalize("NFC", address)
    return address.lower()
