"""The mails that identity sends."""

from __future__ import annotations

from fortress.mail import Mail


def welcome(to: str, site: str) -> Mail:
    """To somebody who has just signed up."""
    return Mail(to, f"Welcome to {site}", f"Your account at {site} is ready. You can sign in with this address.\n")


def already_signed_up(to: str, site: str) -> Mail:
    """To the owner of an address that somebody wanted to sign up with again."""
    text = (
        f"Somebody, perhaps you, tried to sign up at {site} with this address. You have an account already: just sign in.\n\n"
        "If it was not you, there is nothing to do. They were not told that this address has an account.\n"
    )
    return Mail(to, f"You have an account at {site}", text)


def password_changed(to: str, site: str) -> Mail:
    """To somebody whose password is another one now (ASVS V6.3.7)."""
    text = (
        f"The password of your account at {site} was changed, and every other session was signed out.\n\n"
        "If it was not you, tell us at once: somebody knows your old password.\n"
    )
    return Mail(to, f"Your password at {site} was changed", text)


def identity_linked(to: str, site: str, provider: str) -> Mail:
    """To somebody who can sign in with another provider from now on (ASVS V6.3.7)."""
    text = (
        f"Your account at {site} can be signed in to with {provider} from now on.\n\n"
        "If it was not you, unlink it in your account, change your password, and tell us.\n"
    )
    return Mail(to, f"{provider} was linked to your account at {site}", text)


def identity_unlinked(to: str, site: str, provider: str) -> Mail:
    """To somebody who can't sign in with a provider any more (ASVS V6.3.7)."""
    text = f"Your account at {site} can't be signed in to with {provider} any more.\n\nIf it was not you, tell us at once.\n"
    return Mail(to, f"{provider} was unlinked from your account at {site}", text)
