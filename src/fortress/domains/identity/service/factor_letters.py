"""What owners are told by mail about their second factors (ASVS V6.3.7)."""

from __future__ import annotations

from typing import Any, Final

from fortress.mail import NOTHING, NotificationKind
from fortress.mail.kinds import Nothing


def _notice(what: str, title: str) -> NotificationKind[Nothing]:
    return NotificationKind(f"identity.{what}", title, NOTHING, security=True)


_CODES: Final = "Codes to sign in"
_PASSKEYS: Final = "Passkeys"

AUTHENTICATOR_ADDED: Final = _notice("authenticator_added", _CODES)
AUTHENTICATOR_REMOVED: Final = _notice("authenticator_removed", _CODES)
PASSKEY_ADDED: Final = _notice("passkey_added", _PASSKEYS)
PASSKEY_REMOVED: Final = _notice("passkey_removed", _PASSKEYS)
RECOVERY_CODES_RENEWED: Final = _notice("recovery_codes_renewed", _CODES)
RECOVERY_CODE_USED: Final = _notice("recovery_code_used", _CODES)
CODES_EXHAUSTED: Final = _notice("codes_exhausted", _CODES)
COPIED_PASSKEY: Final = _notice("copied_passkey", _PASSKEYS)
# To somebody who had lost all of them, and asked the operators.
FACTORS_RESET: Final = _notice("factors_reset", "Second factors")

FACTOR_LETTERS: Final[tuple[NotificationKind[Any], ...]] = (
    AUTHENTICATOR_ADDED,
    AUTHENTICATOR_REMOVED,
    PASSKEY_ADDED,
    PASSKEY_REMOVED,
    RECOVERY_CODES_RENEWED,
    RECOVERY_CODE_USED,
    CODES_EXHAUSTED,
    COPIED_PASSKEY,
    FACTORS_RESET,
)
