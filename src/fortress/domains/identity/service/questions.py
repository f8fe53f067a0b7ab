"""What a page is told so that it can ask a passkey."""

from __future__ import annotations

from typing import Any

import msgspec


class PasskeyQuestion(msgspec.Struct, frozen=True):
    """A challenge: its token, to be sent back with the answer, and what the browser's own function takes as JSON.

    Attributes:
        options: for PublicKeyCredential.parseRequestOptionsFromJSON or parseCreationOptionsFromJSON (WebAuthn Level 3 §5.1).
    """

    challenge_token: str
    options: dict[str, Any]

    def __repr__(self) -> str:
        return "PasskeyQuestion(hidden)"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        return []
