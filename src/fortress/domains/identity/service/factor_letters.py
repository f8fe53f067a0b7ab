"""What owners are told by mail about their second factors (ASVS V6.3.7)."""

from __future__ import annotations

from typing import Final

from fortress.mail import Mail

_NOT_YOU: Final = "If it was not you, change your password at once, and look at your sessions.\n"


def authenticator_added(to: str, site: str) -> Mail:
    text = f"An authenticator app was added to your account at {site}. From now on its codes are asked for when you sign in.\n\n{_NOT_YOU}"
    return Mail(to, f"A second factor of yours at {site} was turned on", text)


def authenticator_removed(to: str, site: str) -> Mail:
    text = f"The authenticator app was removed from your account at {site}, and every other session was signed out.\n\n{_NOT_YOU}"
    return Mail(to, f"A second factor of yours at {site} was turned off", text)


def passkey_added(to: str, site: str) -> Mail:
    text = f"A passkey was added to your account at {site}. You can sign in with it from now on.\n\n{_NOT_YOU}"
    return Mail(to, f"A passkey was added to your account at {site}", text)


def passkey_removed(to: str, site: str) -> Mail:
    text = f"A passkey was removed from your account at {site}, and every other session was signed out.\n\n{_NOT_YOU}"
    return Mail(to, f"A passkey was removed from your account at {site}", text)


def recovery_codes_renewed(to: str, site: str) -> Mail:
    text = f"New recovery codes were made for your account at {site}. The old ones don't work any more.\n\n{_NOT_YOU}"
    return Mail(to, f"You have new recovery codes at {site}", text)


def recovery_code_used(to: str, site: str) -> Mail:
    text = f"Somebody, perhaps you, used one of your recovery codes at {site}. It can't be used again.\n\n{_NOT_YOU}"
    return Mail(to, f"A recovery code of yours at {site} was used", text)


def codes_exhausted(to: str, site: str) -> Mail:
    text = (
        f"Somebody who knows your password at {site} has tried too many codes of your authenticator app, and did not get in.\n"
        "Codes of the app are not looked at for some time now; passkeys and recovery codes work as before.\n\n"
        "If it was not you, change your password.\n"
    )
    return Mail(to, f"Wrong codes for your account at {site}", text)


def copied_passkey(to: str, site: str) -> Mail:
    text = (
        f"A passkey of your account at {site} was refused: its counter went back, as that of a copy would.\n\n"
        "If it goes on, remove that passkey and make a new one.\n"
    )
    return Mail(to, f"A passkey of yours at {site} was refused", text)
