"""A person's own data: to have it, and to have it forgotten."""

from __future__ import annotations

import asyncio
from typing import Final

from fortress.domains.access.contract import LastAdministrator
from fortress.domains.identity.policy import ACCOUNT_ERASE, ACCOUNT_EXPORT
from fortress.domains.identity.rest.inputs import Presented
from fortress.domains.identity.rest.sessions import device_of
from fortress.domains.identity.service import PersonService
from fortress.http import Answer, Input, Request, delete, get, minutes, per_hour, strict
from fortress.security import Principal

_ZIP: Final = b"application/zip"
_JSON: Final = b"application/json; charset=utf-8"


class EraseMe(Input):
    """The password once more, of people who have one."""

    password: Presented | None = None


@get("/users/me/export", allow=ACCOUNT_EXPORT, limit=strict(per_hour(30)), fresh=minutes(15))
async def export_me(persons: PersonService, principal: Principal, request: Request) -> Answer:
    """Get everything that is kept of you: JSON, or a ZIP where `Accept` asks for application/zip."""
    export = await persons.export(principal.id, principal)
    if _ZIP in request.head.get(b"accept", b""):
        return _attached(await asyncio.to_thread(export.as_zip), _ZIP, "zip")
    return _attached(export.as_json(), _JSON, "json")


@delete("/users/me", allow=ACCOUNT_ERASE, limit=strict(per_hour(30)), fresh=minutes(15), errors=[LastAdministrator])
async def erase_me(data: EraseMe, persons: PersonService, principal: Principal, request: Request) -> None:
    """Erase your account and all that is personal in it; nobody can bring it back."""
    await persons.erase_oneself(data.password.get_secret_value() if data.password else None, principal, device_of(request))


def _attached(body: bytes, kind: bytes, ending: str) -> Answer:
    name = f'attachment; filename="export.{ending}"'.encode()
    return Answer(200, body, ((b"content-type", kind), (b"content-disposition", name)))
