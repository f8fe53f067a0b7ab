"""`fortress keys`: make a key ring, look at it, and turn its keys over."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from fortress.clock import SystemClock
from fortress.commands.project import Project, console
from fortress.errors import CannotStart
from fortress.security.keyfile import FileKeys, open_keyring
from fortress.security.keys import KeyRing, new_ring
from fortress.settings import Settings, read_settings

OpenRing = Callable[[], KeyRing]


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
        console.print(f"Refresh tokens and cursors come from master [bold]{self._open_ring().rotate_secrets()}[/] from now on.")


def _named(settings: Settings) -> Path:
    if settings.keyring is None:
        raise CannotStart("say where: no FORTRESS_KEYRING is set", hint="fortress keys new /etc/fortress/keyring.json")
    return Path(settings.keyring)


def keys_app(project: Project) -> typer.Typer:
    """The command group; the shell mounts it as `keys`."""
    commands = KeyCommands(lambda: open_keyring(read_settings(), SystemClock()))
    app = typer.Typer(name="keys", help="The key ring, and the keys that it guards.", no_args_is_help=True)
    for command in (commands.new, commands.upgrade, commands.show):
        app.command()(command)
    rotate = typer.Typer(name="rotate", help="Turn keys over while servers run. Alone: the key that signs.", invoke_without_command=True)

    @rotate.callback()
    def alone(context: typer.Context) -> None:
        """Turn keys over while servers run. Alone: the key that signs."""
        if context.invoked_subcommand is None:
            commands.signing()

    for command in (commands.signing, commands.masters):
        rotate.command()(command)
    app.add_typer(rotate)
    return app
