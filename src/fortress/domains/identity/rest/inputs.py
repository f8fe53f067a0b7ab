"""Text that people type, as far as several routes read the same."""

from __future__ import annotations

import unicodedata
from typing import Annotated, Final

from pydantic import AfterValidator, Field, SecretStr
from pydantic_core import PydanticCustomError

from fortress.domains.identity.models.addresses import read_address
from fortress.security.passwords import MAX_LENGTH

_BIDI: Final = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
# What `_line` asks, as far as a pattern can say it.
_LINE_PATTERN: Final = r"^[^\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069\ud800-\udfff]*$"
_NEVER_SHOWN: Final = frozenset(("Cc", "Cs", "Zl", "Zp"))


def _address(value: str) -> str:
    try:
        return read_address(value)
    except ValueError:
        raise PydanticCustomError("email", "This is not an e-mail address") from None


def _line(value: str) -> str:
    """Text in one line that shows all that it holds (ASVS V1.2.2: no control characters, nothing that reorders)."""
    if any(letter in _BIDI or unicodedata.category(letter) in _NEVER_SHOWN for letter in value):
        raise PydanticCustomError("control_character", "Control characters are not allowed")
    stripped = value.strip()
    if not stripped:
        raise PydanticCustomError("blank", "This is blank")
    return stripped


# For the document only: the policy itself tells all of a password's faults, in its own words.
SAID_OF_PASSWORDS: Final = Field(json_schema_extra={"minLength": 8, "maxLength": MAX_LENGTH})
Address = Annotated[str, Field(min_length=3, max_length=254, json_schema_extra={"format": "email"}), AfterValidator(_address)]
Line = Annotated[str, Field(min_length=1, max_length=80, json_schema_extra={"pattern": _LINE_PATTERN}), AfterValidator(_line)]
Presented = Annotated[SecretStr, Field(min_length=1, max_length=MAX_LENGTH)]
