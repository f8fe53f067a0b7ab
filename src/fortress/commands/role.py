"""`fortress role`: which roles there are, who holds them, why somebody may do something, and what nobody uses."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Annotated, Protocol
from uuid import UUID

import typer
from rich.markup import escape

from fortress.commands.person import AsJson, PersonFinder, Who
from fortress.commands.project import Ask, console
from fortress.commands.tables import show, show_json
from fortress.errors import CannotStart

Name = Annotated[str, typer.Argument(help="the role")]
_REFUSED = 1


class RoleLike(Protocol):
    """A role."""

    @property
    def name(self) -> str: ...
    @property
    def title(self) -> str: ...
    @property
    def grants(self) -> Sequence[str]: ...
    @property
    def origin(self) -> str: ...
    @property
    def by_default(self) -> bool: ...
    @property
    def second_factor(self) -> bool: ...


class PermissionLike(Protocol):
    """A permission, and the grants by which it is given."""

    @property
    def name(self) -> str: ...
    @property
    def title(self) -> str: ...
    @property
    def grants(self) -> Sequence[str]: ...
    @property
    def by(self) -> Sequence[str]: ...


class AssignmentLike(Protocol):
    """A role that somebody holds, and when that ends."""

    @property
    def name(self) -> str: ...
    @property
    def expires_at(self) -> datetime | None: ...


class SourceLike(Protocol):
    """A role that gives a permission."""

    @property
    def role(self) -> str: ...
    @property
    def origin(self) -> str: ...
    @property
    def reach(self) -> str | None: ...
    @property
    def second_factor(self) -> bool: ...
    @property
    def expires_at(self) -> datetime | None: ...


class WayLike(Protocol):
    """A way of authenticating, and what it needs."""

    @property
    def method(self) -> str: ...
    @property
    def allowed(self) -> bool: ...
    @property
    def second_factor(self) -> bool: ...
    @property
    def scopes(self) -> Sequence[str]: ...


class ExplanationLike(Protocol):
    """Why somebody may do something, or what is missing."""

    @property
    def permission(self) -> str: ...
    @property
    def title(self) -> str: ...
    @property
    def allowed(self) -> bool: ...
    @property
    def roles(self) -> Sequence[SourceLike]: ...
    @property
    def ways(self) -> Sequence[WayLike]: ...
    @property
    def missing(self) -> Sequence[str]: ...
    @property
    def given_by(self) -> Sequence[str]: ...


class UnusedLike(Protocol):
    """Something that somebody may do and has not done for a while."""

    @property
    def user_id(self) -> UUID: ...
    @property
    def grant(self) -> str: ...
    @property
    def roles(self) -> Sequence[str]: ...
    @property
    def last_used(self) -> date | None: ...
    @property
    def held_since(self) -> datetime: ...


class RoleKeeper(Protocol):
    """Whoever keeps the roles; found among the domains' services."""

    async def every_role(self) -> Sequence[RoleLike]: ...
    async def every_permission(self) -> Sequence[PermissionLike]: ...
    async def role(self, name: str) -> RoleLike: ...
    async def make_role(self, name: str, title: str, grants: Sequence[str], *, second_factor: bool) -> RoleLike: ...
    async def change_role(
        self, name: str, *, title: str | None, given: Sequence[str], taken: Sequence[str], second_factor: bool | None
    ) -> RoleLike: ...
    async def remove_role(self, name: str) -> None: ...
    async def roles_of_person(self, person: UUID) -> Sequence[AssignmentLike]: ...
    async def assign_roles(
        self, person: UUID, given: Sequence[str], taken: Sequence[str], until: datetime | None
    ) -> Sequence[AssignmentLike]: ...
    async def explain_permission(self, person: UUID, permission: str) -> ExplanationLike: ...
    async def unused_grants(self, days: int) -> Sequence[UnusedLike]: ...


class RoleCommands:
    """The group's commands.

    Args:
        ask: does work with the project's services.
    """

    def __init__(self, ask: Ask) -> None:
        self._ask = ask

    def list_all(self, *, as_json: AsJson = False) -> None:
        """List the roles, declared and made."""
        roles = self._ask(lambda find: find(RoleKeeper).every_role())
        if as_json:
            show_json(roles)
            return
        rows = [(role.name, role.origin, _marks(role), len(role.grants) if role.grants != ["*"] else "all", role.title) for role in roles]
        show(("role", "origin", "", "grants", "title"), rows, nothing="There is no role.")

    def show(self, name: Name, *, as_json: AsJson = False) -> None:
        """Show what a role grants."""
        role = self._ask(lambda find: find(RoleKeeper).role(name))
        if as_json:
            show_json(role)
        else:
            _tell(role)

    def permissions(self, *, as_json: AsJson = False) -> None:
        """List the permissions, and the grants that roles are made of."""
        found = self._ask(lambda find: find(RoleKeeper).every_permission())
        if as_json:
            show_json(found)
            return
        rows = [(one.name, ", ".join(one.grants), ", ".join(one.by), one.title) for one in found]
        show(("permission", "grants", "used by", "title"), rows, nothing="There is no permission.")

    def make(
        self,
        name: Name,
        title: Annotated[str, typer.Option(help="what it is for")],
        grant: Annotated[list[str] | None, typer.Option(help="a grant that it gives; may come again")] = None,
        *,
        second_factor: Annotated[bool, typer.Option("--second-factor", help="counts only after a second factor")] = False,
        as_json: AsJson = False,
    ) -> None:
        """Make a role of grants that domains declare."""
        _refuse_odd_name(name)
        role = self._ask(lambda find: find(RoleKeeper).make_role(name, title, grant or [], second_factor=second_factor))
        if as_json:
            show_json(role)
        else:
            _tell(role)

    def change(
        self,
        name: Name,
        title: Annotated[str | None, typer.Option(help="what it is for")] = None,
        grant: Annotated[list[str] | None, typer.Option(help="a grant to add; may come again")] = None,
        revoke: Annotated[list[str] | None, typer.Option(help="a grant to take out; may come again")] = None,
        *,
        second_factor: Annotated[bool | None, typer.Option("--second-factor/--no-second-factor")] = None,
        as_json: AsJson = False,
    ) -> None:
        """Change a role that was made; holds for whoever has it within a second."""
        given, taken = grant or [], revoke or []
        role = self._ask(
            lambda find: find(RoleKeeper).change_role(name, title=title, given=given, taken=taken, second_factor=second_factor)
        )
        if as_json:
            show_json(role)
        else:
            _tell(role)

    def remove(self, name: Name, *, yes: Annotated[bool, typer.Option("--yes", help="don't ask")] = False) -> None:
        """Remove a role that was made and that nobody holds."""
        if not yes:
            typer.confirm(f"Remove the role {name}?", abort=True)
        self._ask(lambda find: find(RoleKeeper).remove_role(name))
        console.print(f"{escape(name)} is gone.")

    def assign(
        self,
        who: Who,
        roles: Annotated[list[str] | None, typer.Argument(help="roles to give")] = None,
        take: Annotated[list[str] | None, typer.Option(help="a role to take; may come again")] = None,
        until: Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M"], help="when they end, in UTC")] = None,
        *,
        as_json: AsJson = False,
    ) -> None:
        """Give somebody roles, or take some. Those given may end by themselves."""
        if not (roles or take):
            raise typer.BadParameter("name a role to give, or one to --take")
        end = None if until is None else until.replace(tzinfo=UTC)
        held = self._ask(lambda find: _assigned(find(RoleKeeper), find(PersonFinder), who, roles or [], take or [], end))
        if as_json:
            show_json(held)
        else:
            show_held(held)

    def explain(
        self, who: Who, permission: Annotated[str, typer.Argument(help="for instance users:list")], *, as_json: AsJson = False
    ) -> None:
        """Explain why somebody may do something, or what is missing. Exits with 1 when they may not."""
        explained = self._ask(lambda find: _explained(find(RoleKeeper), find(PersonFinder), who, permission))
        if as_json:
            show_json(explained)
        else:
            for line in explanation_lines(explained):
                console.print(line)
        if not explained.allowed:
            raise typer.Exit(_REFUSED)

    def unused(
        self, days: Annotated[int, typer.Option(min=1, max=3650, help="for how long it was not used")] = 90, *, as_json: AsJson = False
    ) -> None:
        """List what people hold, beyond what everyone does, and have not used for so many days."""
        found = self._ask(lambda find: find(RoleKeeper).unused_grants(days))
        if as_json:
            show_json(found)
            return
        rows = [(one.user_id, one.grant, ", ".join(one.roles), one.last_used or "never", one.held_since.date()) for one in found]
        show(("user", "grant", "by", "last used", "held since"), rows, nothing=f"Everything that was given was used in {days} days.")


def role_app(ask: Ask) -> typer.Typer:
    """The command group; the shell mounts it as `role`."""
    commands = RoleCommands(ask)
    app = typer.Typer(name="role", help="Who may what: roles, assignments, explanations.", no_args_is_help=True)
    app.command("list")(commands.list_all)
    for command in (
        commands.show,
        commands.permissions,
        commands.make,
        commands.change,
        commands.remove,
        commands.assign,
        commands.explain,
        commands.unused,
    ):
        app.command()(command)
    return app


def show_held(held: Sequence[AssignmentLike]) -> None:
    """The roles that somebody holds."""
    rows = [(one.name, _end(one.expires_at) or "no end") for one in held]
    show(("role", "until"), rows, nothing="No role beside the one that everybody has.")


def explanation_lines(explained: ExplanationLike) -> list[str]:
    """An explanation for people, as markup."""
    name, title = escape(explained.permission), escape(explained.title)
    if not explained.allowed:
        told = [f"[bold red]no[/]   {name}: {title}", *(f"     {_MISSING[missing]}" for missing in explained.missing)]
        if explained.given_by:
            told.append(f"     given by: {escape(', '.join(explained.given_by))}")
        return told
    return [f"[bold green]yes[/]  {name}: {title}", *map(_source_line, explained.roles), *map(_way_line, explained.ways)]


_MISSING = {
    "role": "none of the roles held gives it",
    "suspended": "the account is disabled, and its roles are out of use",
    "ended": "the role that gave it has ended",
}


def _source_line(source: SourceLike) -> str:
    reach = {"own": ", over their own rows", "any": ", over everyone's rows"}.get(source.reach or "", "")
    end = f", until {_end(source.expires_at)}" if source.expires_at else ""
    factor = ", after a second factor" if source.second_factor else ""
    return f"     by the {source.origin} role [bold]{escape(source.role)}[/]{reach}{end}{factor}"


def _way_line(way: WayLike) -> str:
    called = {"session": "a session", "api_key": "an API key"}.get(way.method, way.method)
    if not way.allowed:
        return f"     [dim]never with {called}[/]"
    needs = " with a second factor" if way.second_factor else f" with the scope {' or '.join(way.scopes)}" if way.scopes else ""
    return f"     with {called}{escape(needs)}"


def _tell(role: RoleLike) -> None:
    console.print(f"[bold]{escape(role.name)}[/]  {escape(role.title)}")
    console.print(f"  {role.origin}{', ' + _marks(role) if _marks(role) else ''}")
    for grant in role.grants:
        console.print(f"  {'everything' if grant == '*' else escape(grant)}")


def _marks(role: RoleLike) -> str:
    marks = ["for everyone"] * role.by_default + ["second factor"] * role.second_factor
    return ", ".join(marks)


def _end(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _refuse_odd_name(name: str) -> None:
    if not (2 <= len(name) <= 60 and name.isascii() and name[0].islower() and all(c.islower() or c.isdigit() or c == "-" for c in name)):
        raise CannotStart(f"{name!r} can't be a role's name", hint="2 to 60 letters a-z, digits and hyphens, a letter first")


async def _assigned(
    keeper: RoleKeeper, finder: PersonFinder, who: str, given: Sequence[str], taken: Sequence[str], until: datetime | None
) -> Sequence[AssignmentLike]:
    return await keeper.assign_roles(await finder.find_person(who), given, taken, until)


async def _explained(keeper: RoleKeeper, finder: PersonFinder, who: str, permission: str) -> ExplanationLike:
    return await keeper.explain_permission(await finder.find_person(who), permission)
