"""The words of mails: Jinja templates in a domain's `templates` folder, each of which a project may put its own in place of.

    templates/placed.en.txt     `Subject: …`, an empty line, and the text; the one that must be there
    templates/placed.de.txt     the same in another language
    templates/placed.en.html    a HTML part of its own; without it the text is set as HTML

A project's folder has them by domain: `orders/placed.en.txt`, and `layout.html`, which all HTML parts stand in.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from fortress.errors import CannotStart
from fortress.mail.kinds import NotificationKind
from fortress.mail.message import CONTROL, MOST_SUBJECT
from fortress.mail.setting import set_as_html

if TYPE_CHECKING:
    from jinja2 import Environment, Template

DEFAULT_LOCALE: Final = "en"
LOCALE: Final = r"^[a-z]{2,3}(?:-[A-Z]{2})?$"
_LAYOUT: Final = "layout.html"
_FILE: Final = re.compile(r"(?P<name>.+)\.(?P<locale>[a-z]{2,3}(?:-[A-Z]{2})?)\.(?:txt|html)")
_SUBJECT: Final = "Subject:"
_SPACES: Final = re.compile(r"\s+")
Values = Mapping[str, object]


class Letter(msgspec.Struct, frozen=True):
    """A filled template."""

    subject: str
    text: str
    html: str

    def __repr__(self) -> str:
        return "<Letter>"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        return []


class Templates:
    """All templates of a project. Nothing in one can reach further than its data (a sandbox), and what is missing is an error.

    Args:
        folders: each domain's own, by its name.
        override: the project's folder; what is there goes before a domain's own.
        given: what every template may use beside its data: `site`, `origin` and `account_url`.
    """

    def __init__(self, folders: Mapping[str, Path], override: Path | None = None, given: Mapping[str, str] | None = None) -> None:
        self._environment = _environment(folders, override)
        self._given = {"name": "", "unsubscribe": "", **(given or {})}
        self._files = frozenset(self._environment.list_templates())
        self.locales = frozenset(found["locale"] for file in self._files if (found := _FILE.fullmatch(file)))

    def letter(self, kind: NotificationKind[Any], data: msgspec.Struct, locale: str | None = None, **more: str) -> Letter:
        """The mail that tells of this, in the language nearest to the one wanted.

        Raises:
            CannotStart: there is no template, or it asks for what it is not given.
        """
        from markupsafe import Markup

        spoken = self._spoken(kind.template, locale)
        values = {**self._given, **more, "locale": spoken, **msgspec.structs.asdict(data)}
        subject, text = self._words(f"{kind.template}.{spoken}.txt", values)
        page = f"{kind.template}.{spoken}.html"
        body = self._filled(page, values) if page in self._files else set_as_html(text)
        return Letter(subject, text, self._filled(_LAYOUT, {**values, "subject": subject, "body": Markup(body)}))  # noqa: S704 - escaped above

    def check(self, kinds: Mapping[str, NotificationKind[Any]]) -> None:
        """Fill every template there is, in every language, with its kind's sample.

        Raises:
            CannotStart: naming each that is missing or asks for what it is not given.
        """
        problems = sorted({problem for kind in kinds.values() for problem in self._problems(kind)})
        if problems:
            raise CannotStart("; ".join(problems), hint="a mail that can't be written is better found now than when it is wanted")

    def _problems(self, kind: NotificationKind[Any]) -> Iterator[str]:
        for locale in sorted({*self.locales, DEFAULT_LOCALE}):
            try:
                self.letter(kind, kind.sample, locale, name="Ann", unsubscribe="https://example.com/")
            except CannotStart as error:
                yield error.problem

    def _spoken(self, template: str, locale: str | None) -> str:
        """The language that it is written in: the one wanted, the same without its country, else English."""
        wanted = locale or DEFAULT_LOCALE
        chain = (wanted, wanted.partition("-")[0])
        return next((one for one in chain if f"{template}.{one}.txt" in self._files), DEFAULT_LOCALE)

    def _words(self, name: str, values: Values) -> tuple[str, str]:
        head, _, text = self._filled(name, values).partition("\n")
        if not head.startswith(_SUBJECT) or not text.strip():
            raise CannotStart(f"the template {name} must begin with a line 'Subject: …' and have a text after it")
        subject = _SPACES.sub(" ", CONTROL.sub(" ", head.removeprefix(_SUBJECT))).strip()
        return subject[:MOST_SUBJECT], text.strip("\n") + "\n"

    def _filled(self, name: str, values: Values) -> str:
        from jinja2 import TemplateError, TemplateNotFound

        try:
            return self._template(name).render(values)
        except TemplateNotFound:
            raise CannotStart(f"there is no template {name}") from None
        except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError) as error:
            raise CannotStart(f"the template {name} can't be filled: {type(error).__name__}: {_first_line(error)}") from None

    def _template(self, name: str) -> Template:
        return self._environment.get_template(name)


def _environment(folders: Mapping[str, Path], override: Path | None) -> Environment:
    from jinja2 import BaseLoader, ChoiceLoader, FileSystemLoader, PrefixLoader, StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    domains = PrefixLoader({name: FileSystemLoader(folder) for name, folder in folders.items()})
    own = FileSystemLoader(Path(__file__).parent / "layout")
    loaders: list[BaseLoader] = [*([FileSystemLoader(override)] if override else []), domains, own]
    return ImmutableSandboxedEnvironment(
        loader=ChoiceLoader(loaders),
        autoescape=lambda name: name is not None and name.endswith(".html"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        auto_reload=False,
    )


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:200]
