"""A server that speaks the Transit API as Vault does: derived keys with versions, and its ways of saying no."""

from __future__ import annotations

import base64
import json
import re
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

TOKEN = "hvs.made-up-for-tests"


class TransitKeys:
    """One key with all its versions; `derived` as at `vault write transit/keys/name derived=true`."""

    def __init__(self, *, derived: bool = True) -> None:
        self.derived = derived
        self.versions = [secrets.token_bytes(32)]
        self.oldest = 1

    def rotate(self) -> None:
        self.versions.append(secrets.token_bytes(32))

    def encrypt(self, plaintext: bytes, context: bytes) -> str:
        version, nonce = len(self.versions), secrets.token_bytes(12)
        sealed = nonce + self._cipher(version, context).encrypt(nonce, plaintext, None)
        return f"vault:v{version}:{base64.b64encode(sealed).decode()}"

    def decrypt(self, ciphertext: str, context: bytes) -> bytes:
        """Raises ValueError as Vault answers 400."""
        prefix, version, text = ciphertext.split(":")
        number, sealed = int(version.removeprefix("v")), base64.b64decode(text, validate=True)
        if prefix != "vault" or not self.oldest <= number <= len(self.versions):
            raise ValueError("ciphertext or signature version is disallowed by policy (too old)")
        try:
            return self._cipher(number, context).decrypt(sealed[:12], sealed[12:], None)
        except InvalidTag:
            raise ValueError("invalid ciphertext: unable to decrypt") from None

    def _cipher(self, version: int, context: bytes) -> AESGCM:
        key = self.versions[version - 1]
        return AESGCM(HKDF(SHA256(), 32, salt=None, info=context).derive(key) if self.derived else key)


class Vault:
    """The server's state, which tests turn.

    Attributes:
        status: answered instead of the truth when set.
        silent: requests are taken and not answered until it is set.
        seen: bodies and headers, as they came.
    """

    def __init__(self, *, derived: bool = True) -> None:
        self.keys = {"transit/fortress": TransitKeys(derived=derived)}
        self.status: int | None = None
        self.silent = threading.Event()
        self.silent.set()
        self.seen: list[tuple[str, dict[str, str]]] = []
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def answer(self, path: str, headers: dict[str, str], body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        found = re.fullmatch(r"/v1/(.+)/(encrypt|decrypt)/([^/]+)", path)
        if self.status is not None:
            return self.status, {"errors": ["told to"]}
        if headers.get("x-vault-token") != TOKEN:
            return 403, {"errors": ["permission denied"]}
        keys = self.keys.get(f"{found[1]}/{found[3]}") if found else None
        if found is None or keys is None:
            return 404, {"errors": ["no handler for route"]}
        context = base64.b64decode(body["context"])
        if found[2] == "encrypt":
            return 200, {"data": {"ciphertext": keys.encrypt(base64.b64decode(body["plaintext"]), context)}}
        try:
            return 200, {"data": {"plaintext": base64.b64encode(keys.decrypt(body["ciphertext"], context)).decode()}}
        except ValueError as error:
            return 400, {"errors": [str(error)]}


@contextmanager
def running_vault(*, derived: bool = True) -> Iterator[Vault]:
    """A server on a free port."""
    vault = Vault(derived=derived)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            vault.seen.append((self.path, headers))
            vault.silent.wait()
            status, answer = vault.answer(self.path, headers, json.loads(body))
            text = json.dumps(answer).encode()
            try:
                self.send_response(status)
                self.send_header("content-length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)
            except OSError:
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    vault.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield vault
    finally:
        vault.silent.set()
        server.shutdown()
        thread.join()
        server.server_close()
