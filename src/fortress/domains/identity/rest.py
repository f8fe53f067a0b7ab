"""Parse, ask the service, render. A route without `allow` and `limit` does not type-check, and does not start."""

from __future__ import annotations

import unicodedata
from typing import Annotated, Final
from uuid import UUID

from pydantic import AfterValidator, Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from fortress.data import Page, PageQuery
from fortress.domains.access.contract import LastAdministrator
from fortress.domains.identity.contract import (
    InvalidCredentials,
    InvalidRefreshToken,
    NotYourself,
    TooManyKeys,
    UnknownKey,
    UnknownSession,
    UserStatus,
)
from fortress.domains.identity.policy import (
    ACCOUNT_KEYS,
    ACCOUNT_PASSWORD,
    ACCOUNT_READ,
    ACCOUNT_SESSIONS,
    USERS_LIST,
    USERS_READ,
    USERS_WRITE,
)
from fortress.domains.identity.service import AccountService, KeyService, RefreshService, SessionService
from fortress.domains.identity.service.accounts import SignUpWish
from fortress.domains.identity.service.addresses import read_address
from fortress.domains.identity.service.pairs import TokenPair
from fortress.domains.identity.service.sessions import Device
from fortress.domains.identity.service.views import (
    KeyView,
    MeView,
    NewKeyView,
    SessionView,
    UserView,
    key_view,
    me_view,
    new_key_view,
    session_view,
    shown,
    user_view,
)
from fortress.errors import NotFound, StaleVersion
from fortress.http import PUBLIC, Created, Input, Request, delete, get, patch, per_minute, post, strict
from fortress.security import Principal
from fortress.security.passwords import MAX_LENGTH, PasswordPolicy, packaged_common_passwords

YOUNGEST: Final = 13
OLDEST: Final = 150
_AGENT_LETTERS: Final = 200
_ADDRESS_LETTERS: Final = 64
# What every site asks of a password, so that its faults are told together with those of the other fields; the service
# asks for what this site asks beyond that.
_FLOOR: Final = PasswordPolicy(8, (), packaged_common_passwords())
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
_SAID_OF_PASSWORDS: Final = Field(json_schema_extra={"minLength": 8, "maxLength": MAX_LENGTH})
Address = Annotated[str, Field(min_length=3, max_length=254, json_schema_extra={"format": "email"}), AfterValidator(_address)]
Line = Annotated[str, Field(min_length=1, max_length=80, json_schema_extra={"pattern": _LINE_PATTERN}), AfterValidator(_line)]
Presented = Annotated[SecretStr, Field(min_length=1, max_length=MAX_LENGTH)]


class SignUp(Input):
    """Who wants an account. The age is checked and not kept."""

    email: Address
    name: Line | None = None
    password: Annotated[SecretStr, _SAID_OF_PASSWORDS]
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


class SignIn(Input):
    """Who somebody says they are, and the proof."""

    email: Annotated[str, Field(min_length=1, max_length=254)]
    password: Presented


class Refresh(Input):
    """The refresh token of the pair that came last."""

    refresh_token: Annotated[str, Field(min_length=1, max_length=512)]


class ChangePassword(Input):
    """The password that is, and the one that shall be."""

    current_password: Presented
    new_password: Annotated[Presented, _SAID_OF_PASSWORDS]


class ChangeUser(Input):
    """What an administrator may change of an account."""

    status: UserStatus


class MakeKey(Input):
    """A key to be made: what it is for, what it may do, and for how many days (no number: until it is revoked)."""

    name: Line
    scopes: Annotated[list[Annotated[str, Field(min_length=1, max_length=100)]], Field(min_length=1, max_length=100)]
    expires_in_days: Annotated[int, Field(ge=1, le=3650)] | None = None


@post("/users", allow=PUBLIC, limit=strict(per_minute(20)))
async def sign_up(data: SignUp, accounts: AccountService) -> Created[UserView]:
    """Sign up.

    An address that is in use gets the same answer, and its owner a mail.
    """
    user = await accounts.sign_up(SignUpWish(data.email, data.password.get_secret_value(), data.name))
    return Created(user_view(user), at=f"/users/{user.id}")


@post("/auth/login", allow=PUBLIC, limit=strict(per_minute(30)), errors=[InvalidCredentials])
async def sign_in(data: SignIn, sessions: SessionService, request: Request) -> TokenPair:
    """Sign in."""
    return await sessions.sign_in(data.email, data.password.get_secret_value(), device_of(request))


@post("/auth/refresh", allow=PUBLIC, limit=strict(per_minute(600)), errors=[InvalidRefreshToken])
async def refresh(data: Refresh, refreshing: RefreshService) -> TokenPair:
    """Get a new pair for a refresh token, which is used up by it."""
    return await refreshing.refresh(data.refresh_token)


@post("/auth/logout", allow=ACCOUNT_SESSIONS, limit=per_minute(60))
async def sign_out(sessions: SessionService, principal: Principal) -> None:
    """Sign out; the session's tokens die."""
    await sessions.sign_out(principal)


@get("/users/me", allow=ACCOUNT_READ, limit=per_minute(600))
async def read_me(accounts: AccountService, principal: Principal) -> MeView:
    """Read your own account."""
    user = await accounts.read(principal.id, principal)
    return me_view(user, await accounts.roles_of(user.id))


@post("/users/me/password", allow=ACCOUNT_PASSWORD, limit=strict(per_minute(10)))
async def change_password(data: ChangePassword, accounts: AccountService, principal: Principal) -> None:
    """Change your password; your other sessions end."""
    await accounts.change_password(data.current_password.get_secret_value(), data.new_password.get_secret_value(), principal)


@get("/users/me/sessions", allow=ACCOUNT_SESSIONS, limit=per_minute(300))
async def list_my_sessions(query: PageQuery, sessions: SessionService, principal: Principal) -> Page[SessionView]:
    """List where you are signed in."""
    page = await sessions.recent(query, principal)
    return shown(page, lambda session: session_view(session, principal.session))


@delete("/users/me/sessions/{session_id:uuid}", allow=ACCOUNT_SESSIONS, limit=per_minute(60), errors=[UnknownSession])
async def end_my_session(session_id: UUID, sessions: SessionService, principal: Principal) -> None:
    """End one of your sessions."""
    await sessions.end(session_id, principal)


@get("/users", allow=USERS_LIST, limit=per_minute(300))
async def list_users(query: PageQuery, accounts: AccountService, principal: Principal) -> Page[UserView]:
    """List the accounts, newest first."""
    return shown(await accounts.recent(query, principal), user_view)


@get("/users/{user_id:uuid}", allow=USERS_READ, limit=per_minute(600), errors=[NotFound])
async def read_user(user_id: UUID, accounts: AccountService, principal: Principal) -> UserView:
    """Read an account."""
    return user_view(await accounts.read(user_id, principal))


@patch("/users/{user_id:uuid}", allow=USERS_WRITE, limit=per_minute(60), errors=[NotFound, NotYourself, LastAdministrator, StaleVersion])
async def change_user(user_id: UUID, data: ChangeUser, accounts: AccountService, principal: Principal) -> UserView:
    """Disable or enable an account."""
    return user_view(await accounts.set_status(user_id, data.status, principal))


@post("/api-keys", allow=ACCOUNT_KEYS, limit=strict(per_minute(30)), errors=[TooManyKeys])
async def make_api_key(data: MakeKey, keys: KeyService, principal: Principal) -> Created[NewKeyView]:
    """Make an API key; it is shown this once."""
    key, text = await keys.make(data.name, data.scopes, data.expires_in_days, principal)
    return Created(new_key_view(key, text), at=f"/api-keys/{key.id}")


@get("/api-keys", allow=ACCOUNT_KEYS, limit=per_minute(300))
async def list_api_keys(query: PageQuery, keys: KeyService, principal: Principal) -> Page[KeyView]:
    """List your API keys."""
    return shown(await keys.recent(query, principal), key_view)


@get("/api-keys/{key_id:uuid}", allow=ACCOUNT_KEYS, limit=per_minute(600), errors=[UnknownKey])
async def read_api_key(key_id: UUID, keys: KeyService, principal: Principal) -> KeyView:
    """Read one of your API keys."""
    return key_view(await keys.read(key_id, principal))


@delete("/api-keys/{key_id:uuid}", allow=ACCOUNT_KEYS, limit=per_minute(60), errors=[UnknownKey])
async def revoke_api_key(key_id: UUID, keys: KeyService, principal: Principal) -> None:
    """Revoke an API key."""
    await keys.revoke(key_id, principal)


def device_of(request: Request) -> Device:
    """What the request tells of where it comes from, shortened and in one line."""
    given = request.head.get(b"user-agent", b"").decode("latin-1")
    agent = "".join(letter for letter in given if letter.isprintable())[:_AGENT_LETTERS]
    return Device(request.context.address[:_ADDRESS_LETTERS] or None, agent or None)
