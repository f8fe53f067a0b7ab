"""What is proved by mail: an address, a forgotten password, a change of address. Tokens come in bodies, and are in no URL."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

import msgspec
from pydantic import Field, SecretStr

from fortress.domains.identity.policy import ACCOUNT_WRITE, USERS_WRITE
from fortress.domains.identity.rest.inputs import SAID_OF_PASSWORDS, Address, Presented
from fortress.domains.identity.rest.sessions import device_of
from fortress.domains.identity.service import EmailChangeService, EmailVerification, RecoveryService
from fortress.errors import NotFound
from fortress.http import PUBLIC, Accepted, Input, Request, per_hour, per_minute, post, strict
from fortress.security import Principal
from fortress.security.proof import ReauthenticationRequired

Token = Annotated[SecretStr, Field(min_length=1, max_length=100)]
# As for a sign-in: what is no address belongs to nobody, and is answered like one.
AnyAddress = Annotated[str, Field(min_length=1, max_length=254)]


class OnItsWay(msgspec.Struct, frozen=True):
    """What is said whether or not there was anybody to write to."""

    detail: str


class Mailed(Input):
    """A token that came by mail."""

    token: Token


class SomebodysAddress(Input):
    """An address that may have an account."""

    email: AnyAddress


class NewPassword(Input):
    """A token that came by mail, and the password that shall be."""

    token: Token
    new_password: Annotated[Presented, SAID_OF_PASSWORDS]


class ChangeEmail(Input):
    """The address that shall be. The password may be left out within five minutes of a sign-in, or where there is none."""

    new_email: Address
    password: Presented | None = None


class ChangeEmailOf(Input):
    """The address that shall be."""

    new_email: Address


@post("/auth/email/verify", allow=PUBLIC, limit=strict(per_minute(20)))
async def verify_email(data: Mailed, verification: EmailVerification) -> None:
    """Show that your address is yours, with the token that was sent there."""
    await verification.verify(data.token.get_secret_value())


@post("/auth/email/resend", allow=PUBLIC, limit=strict(per_minute(10)))
async def resend_verification(data: SomebodysAddress, verification: EmailVerification) -> Accepted[OnItsWay]:
    """Send the token once more. The answer is the same whether the address has an account or not."""
    await verification.resend(data.email)
    return _on_its_way()


@post("/auth/password/forgot", allow=PUBLIC, limit=strict(per_minute(10)))
async def forgot_password(data: SomebodysAddress, recovery: RecoveryService) -> Accepted[OnItsWay]:
    """Send a token with which another password can be chosen. The answer is the same whether the address has an account or not."""
    await recovery.forgot(data.email)
    return _on_its_way()


@post("/auth/password/reset", allow=PUBLIC, limit=strict(per_minute(20)))
async def reset_password(data: NewPassword, recovery: RecoveryService, request: Request) -> None:
    """Choose another password with the token from the mail; all your sessions end, and a second factor stays one."""
    await recovery.reset(data.token.get_secret_value(), data.new_password.get_secret_value(), device_of(request))


@post("/users/{user_id:uuid}/password-reset", allow=USERS_WRITE, limit=per_minute(30), errors=[NotFound])
async def start_password_reset(user_id: UUID, recovery: RecoveryService, principal: Principal) -> Accepted[OnItsWay]:
    """Send somebody a token with which they choose another password; nobody else sees it."""
    await recovery.start_for(user_id, principal)
    return _on_its_way()


@post("/users/me/email", allow=ACCOUNT_WRITE, limit=strict(per_hour(20)), errors=[ReauthenticationRequired])
async def change_email(data: ChangeEmail, changes: EmailChangeService, principal: Principal, request: Request) -> Accepted[OnItsWay]:
    """Ask for another address. Both addresses get a token, and both must agree; one in use gets the same answer."""
    password = data.password.get_secret_value() if data.password else None
    await changes.ask(data.new_email, password, principal, device_of(request))
    return _on_its_way()


@post("/users/{user_id:uuid}/email", allow=USERS_WRITE, limit=per_minute(30), errors=[NotFound])
async def change_email_of(user_id: UUID, data: ChangeEmailOf, changes: EmailChangeService, principal: Principal) -> Accepted[OnItsWay]:
    """Ask for another address for somebody who can't read mail at the old one; the new one must agree, the old one can stop it."""
    await changes.ask_for(user_id, data.new_email, principal)
    return _on_its_way()


@post("/auth/email/confirm", allow=PUBLIC, limit=strict(per_minute(20)))
async def confirm_email_change(data: Mailed, changes: EmailChangeService) -> None:
    """Agree to a change of address, with the token from either mailbox; with the second one it is done."""
    await changes.confirm(data.token.get_secret_value())


@post("/auth/email/stop", allow=PUBLIC, limit=strict(per_minute(20)))
async def stop_email_change(data: Mailed, changes: EmailChangeService) -> None:
    """Stop a change of address, with the token from either mailbox."""
    await changes.stop(data.token.get_secret_value())


def _on_its_way() -> Accepted[OnItsWay]:
    return Accepted(OnItsWay("If there is an account to write to, a mail is on its way."))
