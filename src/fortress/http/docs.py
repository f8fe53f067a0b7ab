"""The API, described: the OpenAPI document of each version and a page to try it, all from this server."""

from __future__ import annotations

import asyncio
from functools import cache
from html import escape
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import msgspec

from fortress.errors import NotFound
from fortress.http.answers import JSON_TYPE, Answer, Header
from fortress.http.endpoint import Endpoint
from fortress.http.openapi import openapi_document
from fortress.http.routes import Route, own_address
from fortress.limits.policy import per_minute
from fortress.security.permissions import PUBLIC

DOCS_LIMIT: Final = per_minute(300, group="docs")
_TYPES: Final = {
    "swagger-ui.css": "text/css; charset=utf-8",
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "favicon-32x32.png": "image/png",
}
_POLICY: Final[Header] = (
    b"content-security-policy",
    b"default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; "
    b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
)
_KEEP: Final[Header] = (b"cache-control", b"public, max-age=86400")
_START: Final = b"""const documents = JSON.parse(document.getElementById("documents").content);
const preset = SwaggerUIBundle.presets.apis;
SwaggerUIBundle({url: documents.at(-1).url, dom_id: "#docs", deepLinking: true, presets: [preset], persistAuthorization: false});
"""


class ApiDocuments:
    """The OpenAPI documents, made when first asked for."""

    def __init__(self, title: str, server: str, current: int) -> None:
        self.title = title
        self.current = current
        self._server = server
        self._endpoints: list[Endpoint] = []
        self._made: dict[int, bytes] = {}

    def describe(self, endpoints: list[Endpoint]) -> None:
        """Say what is served; once, when the table of routes is ready."""
        self._endpoints = endpoints

    def document(self, version: int) -> bytes:
        """The document of a version, as JSON."""
        if version not in self._made:
            document = openapi_document(self._endpoints, version=version, title=self.title, server=self._server)
            self._made[version] = msgspec.json.encode(document)
        return self._made[version]


@own_address("GET", "/docs", allow=PUBLIC, limit=DOCS_LIMIT)
async def docs_page(documents: ApiDocuments) -> Answer:
    """The API to read and to try."""
    return Answer(200, _page(documents).encode(), ((b"content-type", b"text/html; charset=utf-8"), _POLICY))


@own_address("GET", "/docs/start.js", allow=PUBLIC, limit=DOCS_LIMIT)
async def docs_script() -> Answer:
    """Starts the page."""
    return Answer(200, _START, ((b"content-type", b"text/javascript; charset=utf-8"), _KEEP))


@own_address("GET", "/docs/assets/{name:str}", allow=PUBLIC, limit=DOCS_LIMIT)
async def docs_asset(name: str) -> Answer:
    """The page's own files."""
    folder, kind = assets(), _TYPES.get(name)
    if folder is None or kind is None:
        raise NotFound
    content = await asyncio.to_thread((folder / name).read_bytes)
    return Answer(200, content, ((b"content-type", kind.encode()), _KEEP))


def document_route(version: int) -> Route:
    """The address of one version's document."""

    @own_address("GET", f"/api/v{version}/openapi.json", allow=PUBLIC, limit=DOCS_LIMIT)
    async def openapi(documents: ApiDocuments) -> Answer:
        """What this version serves."""
        return Answer(200, await asyncio.to_thread(documents.document, version), (JSON_TYPE,))

    return openapi


@cache
def assets() -> Path | None:
    """Where Swagger UI's files are, when the `docs` extra is installed. Found, not imported: only its files are used."""
    spec = find_spec("swagger_ui")
    places = spec.submodule_search_locations if spec else None
    return Path(next(iter(places))) / "static" if places else None


def _page(documents: ApiDocuments) -> str:
    listed = [{"name": f"v{version}", "url": f"/api/v{version}/openapi.json"} for version in range(1, documents.current + 1)]
    links = " · ".join(f'<a href="{item["url"]}">{item["name"]}</a>' for item in listed)
    title = escape(documents.title)
    missing = "" if assets() else "<p>Install the page's files with <code>pip install 'fortress[docs]'</code>.</p>"
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta id="documents" name="documents" content="{escape(msgspec.json.encode(listed).decode())}"><title>{title} API</title>
<link rel="stylesheet" href="/docs/assets/swagger-ui.css"><link rel="icon" href="/docs/assets/favicon-32x32.png"></head>
<body><div id="docs"></div>{missing}<noscript><h1>{title} API</h1><p>{links}</p></noscript>
<script src="/docs/assets/swagger-ui-bundle.js"></script><script src="/docs/start.js"></script></body></html>"""


ROUTES: Final = (docs_page, docs_script, docs_asset)
