"""The OAuth 2.0 client: Authlib makes the requests, `Outward` sends them, and what comes back is read strictly.

Tokens of providers live for the time of one sign-in: they are not kept, and no answer of ours holds one (ASVS V10.1.1).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

import msgspec

from fortress.clock import Clock
from fortress.domains.identity.service.providers.documents import Documents, Metadata
from fortress.domains.identity.service.providers.id_tokens import Claims, Expected, read_id_token
from fortress.domains.identity.service.providers.kinds import Provider
from fortress.domains.identity.service.providers.outward import Outward, loaded
from fortress.domains.identity.service.providers.refusals import Fault, Untrusted

_MFA: Final = "mfa"
_OWN_PARAMETERS: Final = frozenset(("client_id", "response_type", "redirect_uri", "scope", "state", "nonce", "code_challenge"))


class Question(msgspec.Struct, frozen=True):
    """What belongs to one sign-in and to no other (ASVS V10.1.2).

    Attributes:
        max_age: how many seconds ago the person may have proved who they are; None: any time.
    """

    state: str
    nonce: str
    verifier: str
    max_age: int | None

    def __repr__(self) -> str:
        return "Question(hidden)"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        return []


class Proved(msgspec.Struct, frozen=True):
    """Who came, by the provider's word.

    Attributes:
        issuer, subject: together the one name of this identity (ASVS V6.8.1, V10.3.3).
        email: None where the provider does not say that it is theirs.
        factors: how many it proved, as far as its word counts.
        at: when they proved themselves there, if the provider says so; None: just now, as far as anybody knows.
    """

    issuer: str
    subject: str
    email: str | None
    factors: int
    at: datetime | None

    def __repr__(self) -> str:
        return "Proved(hidden)"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        return []


class _Tokens(msgspec.Struct, frozen=True):
    access_token: str = ""
    token_type: str = ""
    id_token: str | None = None
    error: str | None = None

    def __repr__(self) -> str:
        return "_Tokens(hidden)"


class _Profile(msgspec.Struct, frozen=True):
    id: int


class _Address(msgspec.Struct, frozen=True):
    email: str
    primary: bool
    verified: bool


class ProviderClient:
    """Asks one provider who came.

    Args:
        provider: which.
        outward: how.
        clock: for the times in tokens and the age of documents.
    """

    def __init__(self, provider: Provider, outward: Outward, clock: Clock) -> None:
        self.provider = provider
        self._documents = Documents(provider, outward, clock)
        self._outward = outward
        self._clock = clock

    async def authorization_url(self, question: Question) -> str:
        """Where the person goes to prove who they are (RFC 6749 §4.1.1, RFC 7636 §4.3).

        Raises:
            ProviderUnavailable, Untrusted: as `Documents.metadata`.
        """
        metadata = await self._documents.metadata()
        if _OWN_PARAMETERS & {name for name, _ in parse_qsl(urlsplit(metadata.authorization_endpoint).query)}:
            raise Untrusted(Fault.ADDRESS)
        client = await self._client()
        url, _ = client.create_authorization_url(
            metadata.authorization_endpoint, state=question.state, code_verifier=question.verifier, **self._asked(question)
        )
        return str(url)

    async def check_issuer(self, given: str | None) -> None:
        """Hold the `iss` of an authorization response against the provider that was asked (RFC 9207 §2.4; ASVS V10.2.2).

        Raises:
            Untrusted: another one, or none where the provider announces it.
            ProviderUnavailable: its metadata can't be had.
        """
        metadata = await self._documents.metadata()
        if given is None and not metadata.authorization_response_iss_parameter_supported:
            return
        if given is None or not self.provider.is_issuer(given):
            raise Untrusted(Fault.ISSUER)

    async def redeem(self, code: str, issuer: str | None, question: Question) -> Proved:
        """Who the code is for.

        Args:
            code: from the authorization response.
            issuer: its `iss`, as far as it had one; `check_issuer` has seen it.
            question: what was asked.

        Raises:
            Untrusted: the code, or what came for it, does not hold.
            ProviderUnavailable: the provider does not answer.
        """
        metadata = await self._documents.metadata()
        tokens = await self._tokens(metadata, code, question)
        if not self.provider.openid:
            return await self._by_profile(tokens)
        if tokens.id_token is None:
            raise Untrusted(Fault.NO_ID_TOKEN)
        expected = Expected(question.nonce, issuer, self._clock.now().timestamp(), question.max_age)
        claims, signed = await read_id_token(tokens.id_token, self.provider, self._documents, expected)
        said = signed if "email" in signed or not metadata.userinfo_endpoint else await self._userinfo(metadata, tokens, claims.sub)
        return Proved(claims.iss, claims.sub, self._address(said), self._factors(claims), self._proved_at(claims))

    def _asked(self, question: Question) -> dict[str, Any]:
        if not self.provider.openid:
            return {}
        more: dict[str, Any] = {"nonce": question.nonce}
        if self.provider.acr_values:
            more["acr_values"] = " ".join(self.provider.acr_values)
        if question.max_age is not None:
            # Some ignore max_age and know prompt; what counts is the auth_time that they sign.
            more |= {"max_age": question.max_age, "prompt": "login"}
        return more

    async def _tokens(self, metadata: Metadata, code: str, question: Question) -> _Tokens:
        client = await self._client()
        parameters = await loaded("authlib.oauth2.rfc6749.parameters")
        form = parameters.prepare_token_request(
            "authorization_code", code=code, redirect_uri=self.provider.redirect_uri, code_verifier=question.verifier
        )
        plain = {"content-type": "application/x-www-form-urlencoded"}
        url, headers, body = client.client_auth(self.provider.client_auth).prepare("POST", metadata.token_endpoint, plain, form)
        tokens = await self._outward.post(url, _Tokens, headers, body)
        if tokens.error is not None or not tokens.access_token:
            raise Untrusted(Fault.REFUSED)
        if tokens.token_type.lower() != "bearer":
            raise Untrusted(Fault.TOKEN_TYPE)
        return tokens

    async def _userinfo(self, metadata: Metadata, tokens: _Tokens, subject: str) -> Mapping[str, Any]:
        """What the provider tells beside the ID token, of the same person (OpenID Connect Core 1.0 §5.3.4)."""
        found = await self._outward.get(metadata.userinfo_endpoint or "", dict[str, Any], _bearing(tokens))
        if found.get("sub") != subject:
            raise Untrusted(Fault.SUBJECT)
        return found

    async def _by_profile(self, tokens: _Tokens) -> Proved:
        kind, bearing = self.provider.kind, _bearing(tokens)
        profile = await self._outward.get(kind.profile, _Profile, bearing)
        addresses = await self._outward.get(kind.emails, list[_Address], bearing)
        email = next((one.email for one in addresses if one.primary and one.verified), None)
        return Proved(self.provider.issuer, str(profile.id), email, 1, None)

    def _address(self, said: Mapping[str, Any]) -> str | None:
        kind, email = self.provider.kind, said.get("email")
        given = said.get(kind.verified_claim)
        # `1 == True` in Python, but only for some providers: the types must agree too.
        verified = any(type(given) is type(one) and given == one for one in kind.verified_values)
        return email if verified and isinstance(email, str) else None

    def _factors(self, claims: Claims) -> int:
        if not self.provider.trust_factors:
            return 1
        return 2 if _MFA in claims.amr or claims.acr in self.provider.acr_values else 1

    def _proved_at(self, claims: Claims) -> datetime | None:
        """When they signed in there, which may be long before they came here (ASVS V6.8.4)."""
        if claims.auth_time is None:
            return None
        return datetime.fromtimestamp(max(0, min(claims.auth_time, self._clock.now().timestamp())), UTC)

    async def _client(self) -> Any:
        """Authlib's client for this provider; it holds no connection, so that one is made for each question."""
        authlib, provider = await loaded("authlib.oauth2.client"), self.provider
        return authlib.OAuth2Client(
            session=None,
            client_id=provider.client_id,
            client_secret=provider.secret.get_secret_value() if provider.secret else None,
            token_endpoint_auth_method=provider.client_auth,
            scope=" ".join(provider.scopes),
            redirect_uri=provider.redirect_uri,
            code_challenge_method="S256",
        )


def _bearing(tokens: _Tokens) -> dict[str, str]:
    return {"authorization": f"Bearer {tokens.access_token}"}
