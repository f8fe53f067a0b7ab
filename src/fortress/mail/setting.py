"""Plain text set as HTML: paragraphs, and what stands indented by itself, as a link or a code."""

from __future__ import annotations

import re
from html import escape
from typing import Final

_LINK: Final = re.compile(r"https?://[^\s<>\"]+")
_INDENT: Final = "    "


def set_as_html(text: str) -> str:
    """The text as HTML. Nothing in it is markup: it is escaped, and only http(s) addresses become links."""
    return "\n".join(_block(block) for block in re.split(r"\n\s*\n", text.strip("\n")) if block.strip())


def _block(block: str) -> str:
    lines = block.split("\n")
    if all(line.startswith(_INDENT) for line in lines):
        return "\n".join(_shown(line.strip()) for line in lines)
    return f"<p>{'<br>'.join(_linked(line) for line in lines)}</p>"


def _shown(line: str) -> str:
    return f'<p class="shown">{_linked(line)}</p>' if _LINK.fullmatch(line) else f'<p class="shown"><code>{escape(line)}</code></p>'


def _linked(line: str) -> str:
    parts, end = [], 0
    for found in _LINK.finditer(line):
        parts += [escape(line[end : found.start()]), f'<a href="{escape(found[0])}">{escape(found[0])}</a>']
        end = found.end()
    return "".join([*parts, escape(line[end:])])
