"""`fortress keys`: the signing keys of our tokens."""

from __future__ import annotations

import typer

from fortress.clock import SystemClock
from fortress.commands.project import console
from fortress.security.keyfile import open_keyring
from fortress.settings import read_settings

group = typer.Typer(help="The key ring: rotate what signs our tokens.", no_args_is_help=True)


@group.command()
def rotate() -> None:
    """Make the next signing key the active one; the old one verifies until its last token has ended."""
    ring = open_keyring(read_settings(), SystemClock())
    console.print(f"Tokens are signed by [bold]{ring.rotate()}[/] from now on.")


@group.command()
def show() -> None:
    """Print the public keys (JWKS)."""
    console.print_json(data=open_keyring(read_settings(), SystemClock()).jwks())
