"""`fortress apikey`: the keys by which services act for people."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Protocol
from uuid import UUID

import typer

from fortress.commands.person import AsJson, PersonFinder, Who
from fortress.commands.project import Ask, console
from fortress.commands.tables import show, show_json


class KeyLike(Protocol):
    """A key, as it is shown: how it begins, never the key itself."""

    @property
    def id(self) -> UUID: ...
    @property
    def name(self) -> str: ...
    @property
    def prefix(self) -> str: ...
    @property
    def scopes(self) -> Sequence[str]: ...
    @property
    def expires_at(self) -> datetime | None: ...
    @property
    def used_at(self) -> datetime | None: ...


class KeyKeeper(PersonFinder, Protocol):
    """Whoever keeps the keys; found among the domains' services."""

    async def keys_of_person(self, person: UUID) -> Sequence[KeyLike]: ...
    async def revoke_key_of_person(self, person: UUID, key: UUID) -> None: ...


class KeyCommands:
    """The group's commands.

    Args:
        ask: does work with the project's services.
    """

    def __init__(self, ask: Ask) -> None:
        self._ask = ask

    def list_all(self, who: Who, *, as_json: AsJson = False) -> None:
        """List somebody's keys that are not revoked."""
        keys = self._ask(lambda find: _keys(find(KeyKeeper), who))
        if as_json:
            show_json(keys)
            return
        rows = [
            (one.id, one.prefix, one.name, _day(one.expires_at, "no end"), _day(one.used_at, "never"), ", ".join(one.scopes))
            for one in keys
        ]
        show(("id", "begins", "name", "until", "last used", "scopes"), rows, nothing="No API key.")

    def revoke(self, who: Who, key: Annotated[UUID, typer.Argument(help="its id, as `list` shows it; never the key itself")]) -> None:
        """Revoke a key; it is refused within a second."""
        self._ask(lambda find: _revoked(find(KeyKeeper), who, key))
        console.print(f"{key} is revoked.")


def apikey_app(ask: Ask) -> typer.Typer:
    """The command group; the shell mounts it as `apikey`."""
    commands = KeyCommands(ask)
    app = typer.Typer(name="apikey", help="API keys: whose there are, revoking.", no_args_is_help=True)
    app.command("list")(commands.list_all)
    app.command()(commands.revoke)
    return app


def _day(moment: datetime | None, none: str) -> str:
    return none if moment is None else f"{moment:%Y-%m-%d}"


async def _keys(keeper: KeyKeeper, who: str) -> Sequence[KeyLike]:
    return await keeper.keys_of_person(await keeper.find_person(who))


async def _revoked(keeper: KeyKeeper, who: str, key: UUID) -> None:
    await keeper.revoke_key_of_person(await keeper.find_person(who), key)
