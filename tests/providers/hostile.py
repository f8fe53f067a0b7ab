"""An issuer of OpenID Connect, and a GitHub, that keep every rule until a test tells them to break one."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from joserfc.jwk import ECKey, RSAKey

PLANTED = "planted-by-the-provider"
CLIENT_ID = "fortress-test"
CLIENT_SECRET = "the client's own secret"
Claims = dict[str, Any]
_KEY = RSAKey.generate_key(2048, {"kid": "first", "use": "sig", "alg": "RS256"})
OTHER_KEY = RSAKey.generate_key(2048, {"kid": "second", "use": "sig", "alg": "RS256"})


class Answered:
    """One answer over HTTP."""

    def __init__(self, body: Any = None, status: int = 200, headers: dict[str, str] | None = None, *, after: float = 0.0) -> None:
        self.body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.status, self.headers, self.after = status, headers or {}, after


class Issuer:
    """A provider on loopback.

    Attributes:
        person: claims of who signs in there.
        claims: changes what an ID token says, before it is signed.
        sign: makes the token of the claims.
        answers: by path, what to answer instead of the usual.
        asked: how often each path was asked.
    """

    def __init__(self) -> None:
        self.url = ""
        self.person: Claims = {"sub": "somebody-42", "email": "ann@example.com", "email_verified": True}
        self.metadata: Claims = {}
        self.keys: list[Claims] = [_KEY.as_dict(private=False)]
        self.keep_the_rules()
        self.asked: Counter[str] = Counter()
        self.tokens: list[str] = []
        self._codes: dict[str, dict[str, str]] = {}

    def keep_the_rules(self) -> None:
        """Sign what is true, and answer as usual."""
        self.claims: Callable[[Claims], Claims] = lambda claims: claims
        self.sign: Callable[[Claims], str] = self.signed
        self.answers: dict[str, Callable[[], Answered]] = {}

    def signed(self, claims: Any, header: Claims | None = None, key: RSAKey = _KEY) -> str:
        """A token that RS256 was used for, whatever its header says."""
        start = _start({"alg": "RS256", "kid": "first", "typ": "JWT"} | (header or {}), claims)
        private = key.private_key
        assert private is not None
        return f"{start}.{_letters(private.sign(start.encode(), PKCS1v15(), SHA256()))}"

    def unsigned(self, claims: Claims) -> str:
        """A token of the algorithm `none`."""
        return _start({"alg": "none", "typ": "JWT"}, claims) + "."

    def confused(self, claims: Claims) -> str:
        """A token that is signed with the public key as if it were a shared secret (CVE-2017-11424)."""
        start = _start({"alg": "HS256", "kid": "first", "typ": "JWT"}, claims)
        return f"{start}.{_letters(hmac.digest(_KEY.as_pem(private=False), start.encode(), 'sha256'))}"

    def authorize(self, url: str) -> dict[str, str]:
        """What the browser brings back from there: code, state and iss."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(url).query, strict_parsing=True).items()}
        code = secrets.token_urlsafe(16)
        self._codes[code] = asked
        issuer = self.url + ("/login/oauth" if "/login/oauth/" in url else "")
        return {"code": code, "state": asked["state"], "iss": issuer}

    def spend(self, code: str) -> None:
        """Have a code used up, as if somebody had been quicker."""
        del self._codes[code]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            lines = head.split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:] if line)}
            body = (await reader.readexactly(int(headers.get("content-length", 0)))).decode()
            await self._answer(writer, lines[0].split(" ")[1], headers, body)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _answer(self, writer: asyncio.StreamWriter, path: str, headers: dict[str, str], body: str) -> None:
        self.asked[path] += 1
        instead = self.answers.get(path)
        answer = instead() if instead else self._usual(path, headers, body)
        await asyncio.sleep(answer.after)
        more = "".join(f"{name}: {value}\r\n" for name, value in answer.headers.items())
        head = f"HTTP/1.1 {answer.status} So\r\ncontent-type: application/json\r\n{more}content-length: {len(answer.body)}\r\n\r\n"
        writer.write(head.encode() + answer.body)
        await writer.drain()

    def _usual(self, path: str, headers: dict[str, str], body: str) -> Answered:
        if path == "/.well-known/openid-configuration":
            return Answered(self.published())
        if path == "/jwks":
            return Answered({"keys": self.keys})
        if path in ("/token", "/login/oauth/access_token"):
            return self._token({name: values[0] for name, values in parse_qs(body).items()})
        if headers.get("authorization", "").removeprefix("Bearer ") not in self.tokens:
            return Answered({"error": "invalid_token", "error_description": PLANTED}, 401)
        if path == "/userinfo":
            return Answered(self.person)
        if path == "/api/v3/user":
            return Answered({"id": 42, "login": PLANTED, "email": "public@example.com"})
        if path == "/api/v3/user/emails":
            return Answered([
                {"email": "other@example.com", "primary": False, "verified": True},
                {"email": self.person["email"], "primary": True, "verified": self.person["email_verified"]},
            ])  # fmt: skip
        return Answered({"message": PLANTED}, 404)

    def published(self) -> Claims:
        return {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/jwks",
            "authorization_response_iss_parameter_supported": True,
        } | self.metadata

    def _token(self, form: dict[str, str]) -> Answered:
        asked = self._codes.pop(form.get("code", ""), None)
        challenge = _letters(hashlib.sha256(form.get("code_verifier", "").encode()).digest())
        good = asked is not None and asked["code_challenge"] == challenge and asked["code_challenge_method"] == "S256"
        if not good or asked is None or asked["redirect_uri"] != form["redirect_uri"] or form.get("client_secret") != CLIENT_SECRET:
            return Answered({"error": "invalid_grant", "error_description": PLANTED}, 400)
        now = int(time.time())
        usual = self.person | {"iss": self.url, "aud": CLIENT_ID, "iat": now, "exp": now + 300, "nonce": asked.get("nonce")}
        self.tokens.append(secrets.token_urlsafe(24))
        tokens = {"access_token": self.tokens[-1], "token_type": "bearer"}
        if "openid" in asked["scope"]:
            tokens["id_token"] = self.sign(self.claims({name: value for name, value in usual.items() if value is not None}))
            self.tokens.append(tokens["id_token"])
        return Answered(tokens)


@asynccontextmanager
async def listening() -> AsyncIterator[Issuer]:
    """An issuer on a free port."""
    issuer = Issuer()
    server = await asyncio.start_server(issuer.serve, "127.0.0.1", 0)
    issuer.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield issuer


def _letters(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _start(*parts: Any) -> str:
    return ".".join(_letters(json.dumps(part).encode()) for part in parts)


def elliptic() -> ECKey:
    """Another kind of key."""
    return ECKey.generate_key("P-256", {"kid": "curved", "use": "sig"})
