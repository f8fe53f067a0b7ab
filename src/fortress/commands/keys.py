"""`fortress keys`: make a key ring, look at it, and turn its keys over."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import msgspec
import typer
from rich.markup import escape

from fortress.clock import SystemClock
from fortress.commands.keystatus import key_status
from fortress.commands.progress import wait_for_all
from fortress.commands.project import Project, console
from fortress.commands.rotation import Reindexed, Renewed, Rewrapped, WrappingRotation, renew_data_keys, renew_index_keys
from fortress.data.entity import Shape, shape_of
from fortress.data.personal.reindexing import Reindexing
from fortress.data.personal.renewing import Renewing
from fortress.errors import CannotStart, Unavailable
from fortress.security.keyfile import FileKeys, open_keyring
from fortress.security.keys import KeyRing, new_ring
from fortress.settings import Settings, read_settings

if TYPE_CHECKING:
    from fortress.bootstrap import Fortress
    from fortress.bootstrap.assembly import Assembly
    from fortress.bootstrap.runtime import Runtime

T = TypeVar("T")
OpenRing = Callable[[], KeyRing]
OpenProject = Callable[[], "AbstractContextManager[tuple[Fortress, Settings]]"]
AsJson = Annotated[bool, typer.Option("--json", help="for scripts")]


class KeyCommands:
    """The commands that need the ring alone.

    Args:
        open_ring: the ring that is set.
    """

    def __init__(self, open_ring: OpenRing) -> None:
        self._open_ring = open_ring

    def new(
        self,
        path: Annotated[Path | None, typer.Argument(metavar="[FILE]", help="where; unset: the file that FORTRESS_KEYRING names")] = None,
    ) -> None:
        """Make a key ring of fresh keys; a file that is there stays as it is."""
        target = path or _named(read_settings())
        if not FileKeys(target).ensure(lambda: new_ring(SystemClock().now())):
            raise CannotStart(f"{target} is there already, and keys that are lost are lost for ever", hint="name another file")
        console.print(f"A key ring of fresh keys is in [bold]{escape(str(target))}[/]. Back it up apart from the database.")

    def upgrade(self) -> None:
        """Give a key ring of an older release what this one needs; once, before the new release starts."""
        self._open_ring().upgrade()
        console.print("The key ring has all that this release needs.")

    def show(self) -> None:
        """Print the public keys (JWKS)."""
        console.print_json(data=self._open_ring().jwks())

    def signing(self) -> None:
        """Make the next signing key the active one; the old one verifies until its last token has ended."""
        console.print(f"Tokens are signed by [bold]{self._open_ring().rotate()}[/] from now on.")

    def masters(self) -> None:
        """Derive from a new master secret; the old one counts until the last refresh token of it has ended."""
        made = self._open_ring().rotate_secrets()
        console.print(f"What is derived comes from master [bold]{made}[/] from now on; the keys of cursors and limits at the next start.")


class DataKeyCommands:
    """The commands that need the database too.

    Args:
        opened: gives the app that is set, and settings with a database that answers.
    """

    def __init__(self, opened: OpenProject) -> None:
        self._opened = opened

    def wrapping(
        self,
        *,
        prepare: Annotated[bool, typer.Option("--prepare", help="only add the next key, for rings that are copied to other hosts")] = False,
        destroy_old: Annotated[bool, typer.Option("--destroy-old", help="destroy the old keys of the ring once nothing uses them")] = False,
        as_json: AsJson = False,
    ) -> None:
        """Wrap all data keys and index keys by a new key; what was killed is finished by the same command."""
        if prepare:
            ring = open_keyring(read_settings(), SystemClock())
            console.print(f"Key ring:{ring.prepare_wrapping()} is next. Copy the ring to every host, then: fortress keys rotate wrapping")
            return
        done = self._work(lambda runtime: _rotation(runtime).run(destroy_old=destroy_old))
        _said(done, lines_of(done), as_json=as_json)

    def data(self, *, as_json: AsJson = False) -> None:
        """Give everybody's data a new key and encrypt it anew; what was killed is finished by the same command."""

        async def renew(runtime: Runtime) -> Renewed:
            keys = Renewing(runtime.database, personal_shapes(runtime.assembly))
            return await renew_data_keys(keys, SystemClock(), holding=runtime.settings.request_timeout, wait=wait_for_all)

        done = self._work(renew)
        _said(done, [*_resumed(done.resumed), f"{done.people} people's data is under new keys: {done.rows} rows."], as_json=as_json)

    def index(self, *, as_json: AsJson = False) -> None:
        """Give each blind index a new key and index everything anew; what was killed is finished by the same command."""

        async def renew(runtime: Runtime) -> Reindexed:
            keys = Reindexing(runtime.database, personal_shapes(runtime.assembly))
            return await renew_index_keys(keys, holding=runtime.settings.request_timeout, wait=wait_for_all)

        done = self._work(renew)
        _said(done, [*_resumed(done.resumed), f"{done.indexes} indexes are under new keys: {done.rows} rows."], as_json=as_json)

    def status(self, *, as_json: AsJson = False) -> None:
        """Say which keys there are, what they guard, and what a rotation has left to do."""
        found = self._work(key_status)
        _said(found, found.lines(), as_json=as_json)

    def _work(self, work: Callable[[Runtime], Coroutine[Any, Any, T]]) -> T:
        async def run(app: Fortress, settings: Settings) -> T:
            async with app.opened(settings) as runtime:
                return await work(runtime)

        with self._opened() as (app, settings):
            try:
                return asyncio.run(run(app, settings))
            except Unavailable as error:
                raise CannotStart(error.detail, hint="what is done is kept: give the same command again") from None


def _named(settings: Settings) -> Path:
    if settings.keyring is None:
        raise CannotStart("say where: no FORTRESS_KEYRING is set", hint="fortress keys new /etc/fortress/keyring.json")
    return Path(settings.keyring)


def _rotation(runtime: Runtime) -> WrappingRotation:
    keys, holding = runtime.database.personal.wrapped, runtime.settings.request_timeout
    return WrappingRotation(runtime.ring, runtime.wrapping, keys, SystemClock(), holding=holding, wait=wait_for_all)


def personal_shapes(assembly: Assembly) -> list[Shape]:
    """The tables that keep personal data."""
    shapes = [shape_of(model) for domain in assembly.domains for model in domain.models]
    return [shape for shape in shapes if shape.personal]


def _resumed(resumed: bool) -> list[str]:  # noqa: FBT001 - as the report says it
    return ["An unfinished rotation was gone on with."] if resumed else []


def lines_of(done: Rewrapped) -> list[str]:
    """What a rotation of wrapping keys did, for people."""
    told = _resumed(done.resumed)
    told.append(f"{done.rewrapped} keys were wrapped anew; {done.key} wraps from now on.")
    if done.destroyed:
        told.append(f"Destroyed for ever: {', '.join(done.destroyed)}. What only they wrapped can't be opened, backups included.")
    if done.unused:
        told.append(f"Nothing is wrapped by {', '.join(done.unused)} any more; --destroy-old destroys them.")
    return told


def _said(found: msgspec.Struct, lines: Sequence[str], *, as_json: bool) -> None:
    if as_json:
        typer.echo(msgspec.json.encode(found).decode())
        return
    for line in lines:
        console.print(escape(line))


def keys_app(project: Project) -> typer.Typer:
    """The command group; the shell mounts it as `keys`."""
    commands = KeyCommands(lambda: open_keyring(read_settings(), SystemClock()))
    app = typer.Typer(name="keys", help="The key ring, and the keys that it guards.", no_args_is_help=True)
    data = DataKeyCommands(project.opened)
    for command in (commands.new, commands.upgrade, commands.show, data.status):
        app.command()(command)
    rotate = typer.Typer(name="rotate", help="Turn keys over while servers run. Alone: the key that signs.", invoke_without_command=True)

    @rotate.callback()
    def alone(context: typer.Context) -> None:
        """Turn keys over while servers run. Alone: the key that signs."""
        if context.invoked_subcommand is None:
            commands.signing()

    for command in (commands.signing, commands.masters, data.wrapping, data.data, data.index):
        rotate.command()(command)
    app.add_typer(rotate)
    return app
