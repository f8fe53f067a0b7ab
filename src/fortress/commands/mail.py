"""`fortress mail`: what development has written down instead of sending."""

from __future__ import annotations

import webbrowser
from html import escape
from pathlib import Path
from typing import Annotated, Final

import typer

from fortress.commands.person import AsJson
from fortress.commands.tables import show, show_json
from fortress.errors import CannotStart
from fortress.mail.outbox import OUTBOX, Kept, Outbox
from fortress.settings import Settings, read_settings

_LAST: Final = "last"
_SHORT: Final = 8
Name = Annotated[str, typer.Argument(help="as `list` shows it, or the end of it; unset: the newest")]


def list_all(*, as_json: AsJson = False) -> None:
    """List the mails of the outbox, the newest last."""
    mails = outbox(read_settings()).mails()
    if as_json:
        show_json(mails)
        return
    rows = [(mail.name[-_SHORT:], dict(mail.headers).get("Date", ""), mail.to, mail.subject) for mail in mails]
    show(("mail", "date", "to", "subject"), rows, nothing="No mail yet.")


def show_one(name: Name = _LAST, *, html: Annotated[bool, typer.Option("--html", help="its HTML part")] = False) -> None:
    """Show a mail: its headers and its text."""
    mail = found(outbox(read_settings()), name)
    if html:
        typer.echo(mail.html)
        return
    for header, value in mail.headers:
        typer.echo(f"{header}: {value}")
    typer.echo(f"\n{mail.text}", nl=False)


def open_one(name: Name = _LAST) -> None:
    """Open a mail's HTML part in the browser."""
    place = outbox(read_settings())
    mail = found(place, name)
    page: Path = place.path(mail.name).with_suffix(".html")
    page.write_text(mail.html or f"<pre>{escape(mail.text)}</pre>", "utf-8")
    typer.echo(str(page))
    webbrowser.open(page.resolve().as_uri())


def outbox(settings: Settings) -> Outbox:
    """Development's outbox.

    Raises:
        CannotStart: mails are sent here, and kept nowhere.
    """
    if settings.production or settings.mail_url is not None:
        raise CannotStart("mails are sent here and not kept", hint="the outbox is development's, while FORTRESS_MAIL_URL is unset")
    return Outbox(settings.state_dir / OUTBOX)


def found(place: Outbox, name: str) -> Kept:
    """The mail of this name, or whose name ends so. Raises CannotStart."""
    mails = place.mails()
    chosen = mails[-1:] if name == _LAST else [mail for mail in mails if mail.name.endswith(name)]
    if not chosen:
        raise CannotStart(f"there is no mail {name!r}" if mails else "no mail yet", hint="fortress mail list shows which there are")
    return chosen[-1]


def mail_app() -> typer.Typer:
    """The command group; the shell mounts it as `mail`."""
    app = typer.Typer(name="mail", help="Development's outbox: mails that were written and not sent.", no_args_is_help=True)
    app.command("list")(list_all)
    app.command("show")(show_one)
    app.command("open")(open_one)
    return app
