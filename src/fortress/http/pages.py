"""Keyset pages over HTTP: `?limit=` and `?cursor=` in, `{"items", "next"}` and `Link` out (RFC 8288)."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote, urlencode

from pydantic import Field

from fortress.data.pages import Page, PageQuery
from fortress.http.answers import Answer, render_json
from fortress.http.inputs import Input, query_fields, read_query
from fortress.http.request import Request


class PageInput(Input):
    """What a list may be asked for."""

    limit: int = Field(20, ge=1, le=100, description="items in a page")
    cursor: str | None = Field(None, max_length=1000, description="`next` of the page before")


class Listing(PageInput):
    """What a list may be asked for that can be narrowed and sorted.

    A subclass has a field for each filter, None while nobody asks for it, and says in `sort` by what the list is sorted:
    `sort: Literal["total", "-total"] | None = None`. The page of the repository declares the same columns.
    """

    def page(self) -> PageQuery:
        """What is asked of the repository's page."""
        filters = self.model_dump(exclude={*PageInput.model_fields, _SORT}, exclude_none=True)
        return PageQuery(self.limit, self.cursor, getattr(self, _SORT, None), filters)


_SORT: Final = "sort"
_FIRST = PageQuery()


def read_page_query(request: Request) -> PageQuery:
    """The page that the caller asks for."""
    if not request.query:
        return _FIRST
    asked = read_query(request, PageInput)
    return PageQuery(limit=asked.limit, cursor=asked.cursor)


def render_page(page: Page[Any], request: Request) -> Answer:
    """The page, with a link to the next one when there is one."""
    if page.next is None:
        return render_json(page)
    asked = {**query_fields(request.query), "cursor": page.next}
    target = f"{quote(request.path)}?{urlencode(asked)}"
    return render_json(page, headers=((b"link", f'<{target}>; rel="next"'.encode()),))
