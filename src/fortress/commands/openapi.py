"""`fortress openapi`: what a version promises, frozen in the repository, and whether it is still kept."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from fortress.commands.project import Project, Target, console
from fortress.errors import CannotStart
from fortress.http.compatibility import breaking_changes
from fortress.settings import read_settings

if TYPE_CHECKING:
    from fortress.bootstrap import Fortress

Version = Annotated[int | None, typer.Option(min=1, help="of the API; unset: the current one, and all of them for --check and --freeze")]
Freeze = Annotated[bool, typer.Option("--freeze", help="write each released version's document into the folder")]
Check = Annotated[bool, typer.Option("--check", help="compare with the frozen documents; exit 1 when a client of theirs would break")]
Folder = Annotated[Path, typer.Option(help="of the frozen documents")]


class OpenApiCommand:
    """The command that describes the API."""

    def __init__(self, project: Project) -> None:
        self._project = project

    def openapi(
        self,
        target: Target = None,
        version: Version = None,
        folder: Folder = Path("openapi"),
        *,
        freeze: Freeze = False,
        check: Check = False,
    ) -> None:
        """Print the OpenAPI document of a version, freeze it, or check that it keeps what was frozen."""
        app = self._project.app(target, read_settings())
        if version is not None and version > app.version:
            raise CannotStart(f"v{version} is not served", hint=f"the current version is v{app.version}")
        if check or freeze:
            _refuse_breaking(app, folder, version)
        if freeze:
            folder.mkdir(parents=True, exist_ok=True)
            for number in _versions(app, version):
                frozen(folder, number).write_bytes(as_text(app.document(number)))
                console.print(f"[green]{frozen(folder, number)} is what v{number} promises from now on.[/]")
        if not (check or freeze):
            typer.echo(as_text(app.document(version or app.version)).decode(), nl=False)


def frozen(folder: Path, version: int) -> Path:
    """Where a version's document is kept."""
    return folder / f"v{version}.json"


def as_text(document: dict[str, Any]) -> bytes:
    """The document as it stands in a repository: indented, its keys in order, so that a change reads as one."""
    return msgspec.json.format(msgspec.json.encode(document, order="sorted"), indent=1) + b"\n"


def broken_promises(app: Fortress, folder: Path, version: int | None = None) -> list[str]:
    """What the app would take away from clients of the frozen documents, in words."""
    found: list[str] = []
    for number in _versions(app, version):
        path = frozen(folder, number)
        if path.exists():
            found += breaking_changes(msgspec.json.decode(path.read_bytes()), app.document(number))
    return found


def _refuse_breaking(app: Fortress, folder: Path, version: int | None) -> None:
    changes = broken_promises(app, folder, version)
    if changes:
        for change in changes:
            typer.echo(f"API005  {change}")
        said = "1 change breaks" if len(changes) == 1 else f"{len(changes)} changes break"
        raise CannotStart(f"{said} clients of a released version", hint="take it back, or offer it in a new version")
    kept = [f"v{number}" for number in _versions(app, version) if frozen(folder, number).exists()]
    console.print(f"[green]{', '.join(kept)}: every promise is kept.[/]" if kept else f"No version is frozen in {folder}.")


def _versions(app: Fortress, version: int | None) -> list[int]:
    return [version] if version is not None else list(range(1, app.version + 1))
