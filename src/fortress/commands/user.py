"""`fortress user`: the accounts that there are."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Protocol
from uuid import UUID

import typer
from rich.markup import escape

from fortress.commands.person import AsJson, PersonFinder, Who
from fortress.commands.project import Ask, console
from fortress.commands.role import AssignmentLike, RoleKeeper, show_held
from fortress.commands.tables import show, show_json
from fortress.errors import CannotStart


class AccountLike(Protocol):
    """An account, as it is shown."""

    @property
    def id(self) -> UUID: ...
    @property
    def email(self) -> str: ...
    @property
    def name(self) -> str | None: ...
    @property
    def status(self) -> str: ...
    @property
    def created_at(self) -> datetime: ...


class AccountKeeper(PersonFinder, Protocol):
    """Whoever keeps the accounts."""

    async def newest_accounts(self, most: int) -> Sequence[AccountLike]: ...
    async def account_of(self, person: UUID) -> AccountLike: ...
    async def disable_account(self, person: UUID) -> AccountLike: ...
    async def enable_account(self, person: UUID) -> AccountLike: ...
    async def reset_factors(self, person: UUID) -> None: ...


class ExportLike(Protocol):
    """Everything that is kept of one person."""

    def as_json(self) -> bytes: ...
    def as_zip(self) -> bytes: ...


class PersonalDataKeeper(PersonFinder, Protocol):
    """Whoever hands out and forgets what is kept of people."""

    async def export_person(self, person: UUID) -> ExportLike: ...
    async def erase_person(self, person: UUID) -> None: ...


class UserCommands:
    """The group's commands.

    Args:
        ask: does work with the project's services.
    """

    def __init__(self, ask: Ask) -> None:
        self._ask = ask

    def list_all(
        self, limit: Annotated[int, typer.Option(min=1, max=10_000, help="the newest so many")] = 100, *, as_json: AsJson = False
    ) -> None:
        """List the newest accounts."""
        accounts = self._ask(lambda find: find(AccountKeeper).newest_accounts(limit))
        if as_json:
            show_json(accounts)
            return
        rows = [(one.id, one.email, one.status, f"{one.created_at:%Y-%m-%d}", one.name) for one in accounts]
        show(("id", "e-mail", "status", "since", "name"), rows, nothing="There is no account.")

    def show(self, who: Who, *, as_json: AsJson = False) -> None:
        """Show an account."""
        self._tell(self._ask(lambda find: _account(find(AccountKeeper), who)), as_json=as_json)

    def disable(self, who: Who, *, as_json: AsJson = False) -> None:
        """Disable an account; its sessions and keys are refused within a second."""
        self._tell(self._ask(lambda find: _disabled(find(AccountKeeper), who)), as_json=as_json)

    def enable(self, who: Who, *, as_json: AsJson = False) -> None:
        """Enable an account that was disabled; what ended with it stays ended."""
        self._tell(self._ask(lambda find: _enabled(find(AccountKeeper), who)), as_json=as_json)

    def reset_factors(self, who: Who, *, yes: Annotated[bool, typer.Option("--yes", help="do not ask")] = False) -> None:
        """Remove all second factors of somebody who has lost them; their sessions end, and they are told by mail."""
        if not yes:
            account = self._ask(lambda find: _account(find(AccountKeeper), who))
            typer.confirm(f"Let {account.email} in by the password alone? Be sure that it is they who ask", abort=True)
        self._ask(lambda find: _reset(find(AccountKeeper), who))
        console.print("Removed. The password is all that the next sign-in asks for.")

    def roles(self, who: Who, *, as_json: AsJson = False) -> None:
        """List the roles that somebody holds, and until when."""
        held = self._ask(lambda find: _roles(find(RoleKeeper), find(PersonFinder), who))
        if as_json:
            show_json(held)
        else:
            show_held(held)

    def export(
        self, who: Who, to: Annotated[Path | None, typer.Option("--to", help="a new file, .json or .zip; unset: standard output")] = None
    ) -> None:
        """Write everything that every domain keeps of somebody."""
        if to is not None and to.exists():
            raise CannotStart(f"{to} is there already", hint="choose another name; nothing is overwritten")
        export = self._ask(lambda find: _export(find(PersonalDataKeeper), who))
        if to is None:
            typer.echo(export.as_json().decode())
            return
        content = export.as_zip() if to.suffix == ".zip" else export.as_json()
        try:
            with os.fdopen(os.open(to, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
                file.write(content)
        except OSError as error:
            raise CannotStart(f"{to} can't be written: {error.strerror or error}") from None
        console.print(f"Written to [bold]{escape(str(to))}[/], for its owner's eyes only.")

    def erase(self, who: Who, *, yes: Annotated[bool, typer.Option("--yes", help="do not ask")] = False) -> None:
        """Forget somebody for good: their account, and whatever is personal in any domain."""
        if not yes:
            account = self._ask(lambda find: _account(find(AccountKeeper), who))
            typer.confirm(f"Forget {account.email} for good? Nobody can bring them back", abort=True)
        self._ask(lambda find: _erased(find(PersonalDataKeeper), who))
        console.print("Forgotten. The audit log says that it was done.")

    def _tell(self, account: AccountLike, *, as_json: bool) -> None:
        if as_json:
            show_json(account)
            return
        called = f"  {escape(account.name)}" if account.name else ""
        console.print(f"{account.id}  [bold]{escape(account.email)}[/]{called}  {account.status}")


def user_app(ask: Ask) -> typer.Typer:
    """The command group; the shell mounts it as `user`."""
    commands = UserCommands(ask)
    app = typer.Typer(name="user", help="Accounts: who there is, disabling and enabling, exporting and forgetting.", no_args_is_help=True)
    app.command("list")(commands.list_all)
    for command in (
        commands.show,
        commands.disable,
        commands.enable,
        commands.reset_factors,
        commands.roles,
        commands.export,
        commands.erase,
    ):
        app.command()(command)
    return app


async def _account(keeper: AccountKeeper, who: str) -> AccountLike:
    return await keeper.account_of(await keeper.find_person(who))


async def _roles(keeper: RoleKeeper, finder: PersonFinder, who: str) -> Sequence[AssignmentLike]:
    return await keeper.roles_of_person(await finder.find_person(who))


async def _export(keeper: PersonalDataKeeper, who: str) -> ExportLike:
    return await keeper.export_person(await keeper.find_person(who))


async def _erased(keeper: PersonalDataKeeper, who: str) -> None:
    await keeper.erase_person(await keeper.find_person(who))


async def _reset(keeper: AccountKeeper, who: str) -> None:
    await keeper.reset_factors(await keeper.find_person(who))


async def _disabled(keeper: AccountKeeper, who: str) -> AccountLike:
    return await keeper.disable_account(await keeper.find_person(who))


async def _enabled(keeper: AccountKeeper, who: str) -> AccountLike:
    return await keeper.enable_account(await keeper.find_person(who))
