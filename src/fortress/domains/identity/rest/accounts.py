"""Accounts: one's own, and everyone's for who may."""

from __future__ import annotations

from typing import Annotated, Final, Self
from uuid import UUID

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from fortress.data import Page, PageQuery
from fortress.domains.access.contract import LastAdministrator
from fortress.domains.identity.contract import NotYourself, UnknownUser, UserStatus
from fortress.domains.identity.policy import ACCOUNT_PASSWORD, ACCOUNT_READ, ACCOUNT_WRITE, USERS_LIST, USERS_READ, USERS_WRITE
from fortress.domains.identity.rest.inputs import SAID_OF_PASSWORDS, Address, Line, Presented
from fortress.domains.identity.rest.sessions import device_of
from fortress.domains.identity.service import AccountService
from fortress.domains.identity.service.accounts import SignUpWish
from fortress.domains.identity.service.views import MeView, UserView, me_view, shown, user_view
from fortress.errors import StaleVersion
from fortress.http import PUBLIC, Created, Input, Patch, Request, get, patch, per_minute, post, strict
from fortress.http.pages import PageInput
from fortress.security import Principal
from fortress.security.passwords import PasswordPolicy, packaged_common_passwords

YOUNGEST: Final = 13
OLDEST: Final = 150
# What every site asks of a password, so that its faults are told together with those of the other fields; the service
# asks for what this site asks beyond that.
_FLOOR: Final = PasswordPolicy(8, (), packaged_common_passwords())


class SignUp(Input):
    """Who wants an account. The age is checked and not kept."""

    email: Address
    name: Line | None = None
    password: Annotated[SecretStr, SAID_OF_PASSWORDS]
    age: Annotated[int, Field(ge=YOUNGEST, le=OLDEST)]

    @field_validator("password")
    @classmethod
    def _strong(cls, value: SecretStr, info: ValidationInfo) -> SecretStr:
        email, name = info.data.get("email") or "", info.data.get("name") or ""
        faults = _FLOOR.check(value.get_secret_value(), email=email, name=name)
        if faults:
            details = [InitErrorDetails(type=PydanticCustomError(fault.code, fault.message), input=None) for fault in faults]
            raise ValidationError.from_exception_data(cls.__name__, details, hide_input=True)
        return value


class ChangePassword(Input):
    """The password that is, and the one that shall be."""

    current_password: Presented
    new_password: Annotated[Presented, SAID_OF_PASSWORDS]


class ChangeMe(Patch):
    """What one may change of one's own account; a member that is left out stays, and null takes the name away (RFC 7396)."""

    name: Line | None = None


class UserQuery(PageInput):
    """A page of the accounts; of those with just this address or name, where one is given."""

    email: Annotated[str, Field(min_length=1, max_length=254)] | None = Field(None, description="in whatever case")
    name: Annotated[str, Field(min_length=1, max_length=80)] | None = Field(None, description="the whole name, in whatever case")

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if self.email is not None and self.name is not None:
            raise PydanticCustomError("one_filter", "Look for an address or for a name, not for both")
        return self


class ChangeUser(Input):
    """What an administrator may change of an account."""

    status: UserStatus


@post("/users", allow=PUBLIC, limit=strict(per_minute(20)))
async def sign_up(data: SignUp, accounts: AccountService) -> Created[UserView]:
    """Sign up.

    An address that is in use gets the same answer, and its owner a mail.
    """
    user = await accounts.sign_up(SignUpWish(data.email, data.password.get_secret_value(), data.name))
    return Created(user_view(user), at=f"/users/{user.id}")


@get("/users/me", allow=ACCOUNT_READ, limit=per_minute(600))
async def read_me(accounts: AccountService, principal: Principal) -> MeView:
    """Read your own account."""
    user = await accounts.read(principal.id, principal)
    return me_view(user, await accounts.roles_of(user.id))


@patch("/users/me", allow=ACCOUNT_WRITE, limit=per_minute(60), errors=[StaleVersion])
async def change_me(data: ChangeMe, accounts: AccountService, principal: Principal) -> MeView:
    """Change your own account; only the members that are there."""
    if "name" in data.model_fields_set:
        user = await accounts.rename(data.name, principal)
    else:
        user = await accounts.read(principal.id, principal)
    return me_view(user, await accounts.roles_of(user.id))


@post("/users/me/password", allow=ACCOUNT_PASSWORD, limit=strict(per_minute(10)))
async def change_password(data: ChangePassword, accounts: AccountService, principal: Principal, request: Request) -> None:
    """Change your password; your other sessions end."""
    await accounts.change_password(
        data.current_password.get_secret_value(), data.new_password.get_secret_value(), principal, device_of(request)
    )


@get("/users", allow=USERS_LIST, limit=per_minute(300))
async def list_users(query: UserQuery, accounts: AccountService, principal: Principal) -> Page[UserView]:
    """List the accounts, newest first; or find those of an address or a name."""
    if query.email is not None:
        return Page([user_view(user) for user in await accounts.by_email(query.email, principal)], None)
    asked = PageQuery(query.limit, query.cursor)
    if query.name is not None:
        return shown(await accounts.named(query.name, asked, principal), user_view)
    return shown(await accounts.recent(asked, principal), user_view)


@get("/users/{user_id:uuid}", allow=USERS_READ, limit=per_minute(600), errors=[UnknownUser])
async def read_user(user_id: UUID, accounts: AccountService, principal: Principal) -> UserView:
    """Read an account."""
    return user_view(await accounts.read(user_id, principal))


@patch("/users/{user_id:uuid}", allow=USERS_WRITE, limit=per_minute(60), errors=[UnknownUser, NotYourself, LastAdministrator, StaleVersion])
async def change_user(user_id: UUID, data: ChangeUser, accounts: AccountService, principal: Principal) -> UserView:
    """Disable or enable an account."""
    return user_view(await accounts.set_status(user_id, data.status, principal))
