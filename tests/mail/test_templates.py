"""Templates: what is missing is found before it is wanted, and what people write stays what it is."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from fortress.errors import CannotStart
from fortress.mail import Kinds, NotificationData, NotificationKind, Templates


class Placed(NotificationData, frozen=True):
    """An order."""

    number: str
    total: Decimal


PLACED = NotificationKind("orders.placed", "Your orders", Placed("A-1", Decimal("12.50")))
KINDS = Kinds([("orders", PLACED)])
ENGLISH = (
    "Subject: Order {{ number }} at {{ site }}\n\nThank you, {{ name }}. That makes {{ total }}.\n\n    https://example.com/{{ number }}\n"
)
GERMAN = "Subject: Bestellung {{ number }}\n\nDanke.\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "templates"
    folder.mkdir()
    (folder / "placed.en.txt").write_text(ENGLISH)
    return folder


def templates(folder: Path, override: Path | None = None) -> Templates:
    return Templates({"orders": folder}, override, {"site": "The <Shop>", "origin": "https://example.com", "account_url": ""})


def test_a_letter_is_text_and_the_same_as_html(folder: Path) -> None:
    letter = templates(folder).letter(PLACED, PLACED.sample, name="Ann & Bob")
    assert letter.subject == "Order A-1 at The <Shop>"
    assert letter.text.startswith("Thank you, Ann & Bob. That makes 12.50.\n")
    assert "Thank you, Ann &amp; Bob." in letter.html
    assert '<a href="https://example.com/A-1">' in letter.html
    assert "The &lt;Shop&gt;" in letter.html


def test_the_nearest_language_is_taken(folder: Path) -> None:
    (folder / "placed.de.txt").write_text(GERMAN)
    made = templates(folder)
    subjects = {locale: made.letter(PLACED, PLACED.sample, locale).subject for locale in ("de", "de-AT", "en-GB", "fr", None)}
    english = "Order A-1 at The <Shop>"
    assert subjects == {"de": "Bestellung A-1", "de-AT": "Bestellung A-1", "en-GB": english, "fr": english, None: english}
    assert made.locales == {"de", "en"}


def test_a_project_puts_its_own_in_their_place(folder: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    (own / "orders").mkdir(parents=True)
    (own / "orders" / "placed.en.txt").write_text("Subject: Ours\n\nOurs.\n")
    (own / "orders" / "placed.en.html").write_text("<p>Ours, {{ number }}</p>")
    (own / "layout.html").write_text("<html>{{ body }}</html>")
    letter = templates(folder, own).letter(PLACED, Placed("<b>", Decimal(1)))
    assert (letter.subject, letter.text, letter.html) == ("Ours", "Ours.\n", "<html><p>Ours, &lt;b&gt;</p></html>")


@pytest.mark.parametrize(
    "number", ["1\r\nBcc: everybody@example.com", "1\x00", "1\u2028x", "1" * 500], ids=["crlf", "nul", "separator", "long"]
)
def test_what_people_write_makes_no_header(folder: Path, number: str) -> None:
    subject = templates(folder).letter(PLACED, Placed(number, Decimal(1))).subject
    assert len(subject) <= 200
    assert subject.isprintable()


def test_what_is_in_order_passes(folder: Path) -> None:
    templates(folder).check(KINDS)


@pytest.mark.parametrize(
    ("file", "text", "problem"),
    [
        ("placed.en.txt", "Subject: x\n\n{{ nobody }}\n", "'nobody' is undefined"),
        ("placed.en.txt", "Subject: x\n\n{{ total.nothing }}\n", "nothing"),
        ("placed.en.txt", "Subject: x\n\n{% if %}\n", "TemplateSyntaxError"),
        ("placed.en.txt", "Subject: x\n\n{{ total.__class__.__mro__ }}\n", "SecurityError"),
        ("placed.en.txt", "Subject: x\n\n{{ number + 1 }}\n", "TypeError"),
        ("placed.en.txt", "No subject.\n", "must begin"),
        ("placed.de.txt", "Subject: only this\n", "must begin"),
        ("placed.en.html", "{{ nobody }}", "'nobody' is undefined"),
    ],
)
def test_what_is_wrong_with_a_template_is_said_at_the_start(folder: Path, file: str, text: str, problem: str) -> None:
    (folder / file).write_text(text)
    with pytest.raises(CannotStart, match=problem):
        templates(folder).check(KINDS)


def test_a_template_that_is_missing_is_said_at_the_start(folder: Path) -> None:
    (folder / "placed.en.txt").rename(folder / "placed.de.txt")
    with pytest.raises(CannotStart, match=r"no template orders/placed\.en\.txt"):
        templates(folder).check(KINDS)


class Hiding(NotificationData, frozen=True):
    """Would hide the site's name."""

    site: str


@pytest.mark.parametrize(
    "declared",
    [
        [("orders", NotificationKind("stock.placed", "", PLACED.sample))],
        [("orders", NotificationKind("orders", "", PLACED.sample))],
        [("orders", NotificationKind("orders.hiding", "", Hiding("x")))],
        [("orders", PLACED), ("orders", PLACED)],
    ],
    ids=["another domain's", "no name", "hides what is given", "twice"],
)
def test_a_kind_that_can_not_be_is_refused(declared: list[tuple[str, NotificationKind[NotificationData]]]) -> None:
    with pytest.raises(CannotStart):
        Kinds(declared)


def test_data_are_of_their_kind_and_show_nothing() -> None:
    text = PLACED.written(Placed("A-2", Decimal("3.10")))
    assert PLACED.read(text) == Placed("A-2", Decimal("3.10"))
    assert "A-2" not in repr(Placed("A-2", Decimal(1)))
    with pytest.raises(TypeError):
        PLACED.written(Hiding("x"))  # type: ignore[arg-type]
