"""The mails that identity sends."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from fortress.mail import Mail


class Carrier(Protocol):
    """A letter that carries a token; `way` says how to use it."""

    def __call__(self, to: str, site: str, *, way: str) -> Mail: ...


def way(action: str, token: str, page: str) -> str:
    """How to use a token, in words.

    Args:
        action: what it is for, as the page knows it.
        token: in the mail, and where a page is given behind its #, which no browser sends to a server (RFC 3986 §3.5).
        page: the site's own page for it; empty: there is none.
    """
    code = f"    {token}\n"
    if not page:
        return f"This is the code that you are asked for:\n\n{code}"
    return f"Open this page:\n\n    {page}#{action}={token}\n\nor enter this code there:\n\n{code}"


def welcome(to: str, site: str) -> Mail:
    """To somebody who has just signed up."""
    return Mail(to, f"Welcome to {site}", f"Your account at {site} is ready. You can sign in with this address.\n")


def welcome_and_verify(to: str, site: str, *, way: str) -> Mail:
    """To somebody who has just signed up, to show that the address is theirs."""
    text = f"Your account at {site} is ready. Please show that this address is yours, within a day.\n\n{way}\n{_NOT_YOURS}"
    return Mail(to, f"Welcome to {site}", text)


def verify_email(to: str, site: str, *, way: str) -> Mail:
    """To somebody who wants to show that the address is theirs, and has no mail for it any more."""
    return Mail(to, f"Is this your address? {site} asks", f"Please show that this address is yours, within a day.\n\n{way}\n{_NOT_YOURS}")


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


def forgotten_password(to: str, site: str, *, way: str) -> Mail:
    """To somebody who does not know their password any more, or whose administrator started this for them."""
    text = (
        f"You can choose another password for your account at {site}, within half an hour.\n\n{way}\n"
        "If you did not ask for this, there is nothing to do: the password stays as it is. Give the code to nobody.\n"
    )
    return Mail(to, f"Another password for {site}", text)


def password_reset(to: str, site: str) -> Mail:
    """To somebody whose password was chosen anew with a mailed token (ASVS V6.3.7)."""
    text = (
        f"Another password was chosen for your account at {site} with a code from this mailbox. Every session was signed out.\n\n"
        "If it was not you, somebody reads your mail: secure your mailbox first, then choose another password once more.\n"
    )
    return Mail(to, f"Your password at {site} was changed", text)


def new_device(to: str, site: str, *, address: str, at: datetime) -> Mail:
    """To somebody who was signed in to from a device for the first time (ASVS V6.3.5). What it calls itself could be a lie."""
    text = (
        f"Your account at {site} was signed in to from a device or network that it was not used from before:\n\n"
        f"    {at:%Y-%m-%d %H:%M} UTC, from {address or 'an unknown address'}\n\n"
        "If it was not you, change your password and sign out all your other sessions.\n"
    )
    return Mail(to, f"A new device signed in to your account at {site}", text)


def email_change_asked(to: str, site: str, *, way: str) -> Mail:
    """To the address that an account has: it shall be another, if who reads this agrees."""
    text = (
        f"You asked to have mail for your account at {site} sent to another address. If this is right, agree here, and at the "
        f"other address too, within a day.\n\n{way}\n"
        "If it was not you, somebody is signed in to your account: stop the change with the same code, and change your password.\n"
    )
    return Mail(to, f"Shall your address at {site} change?", text)


def email_change_ordered(to: str, site: str, *, way: str) -> Mail:
    """To the address that an account has, when an administrator changes it: it can be stopped."""
    text = (
        f"An administrator of {site} is changing the address of your account, as its owner asked because this mailbox can't be "
        f"read any more.\n\nIf you do read this, stop the change, within a day.\n\n{way}"
    )
    return Mail(to, f"Your address at {site} is being changed", text)


def email_change_offered(to: str, site: str, *, way: str) -> Mail:
    """To the address that an account shall have."""
    text = f"Somebody wants this to be the address of their account at {site}. If it was you, agree, within a day.\n\n{way}\n{_NOT_YOURS}"
    return Mail(to, f"Is this your address? {site} asks", text)


def address_wanted(to: str, site: str) -> Mail:
    """To the owner of an address that somebody with another account wanted for theirs."""
    text = (
        f"Somebody, perhaps you, tried to use this address for another account at {site}. It has an account already: just sign in.\n\n"
        "If it was not you, there is nothing to do. They were not told that this address has an account.\n"
    )
    return Mail(to, f"You have an account at {site}", text)


def email_changed(to: str, site: str) -> Mail:
    """To both addresses, once it is done (ASVS V6.3.7)."""
    text = f"The address of your account at {site} has changed, as was agreed at both addresses.\n\nIf it was not you, tell us at once.\n"
    return Mail(to, f"Your address at {site} was changed", text)


_NOT_YOURS = "If it was not you, there is nothing to do: without the code nothing happens.\n"
