"""What is known of each kind of provider, as data, and the providers that the settings name."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec
from pydantic import SecretStr

from fortress.settings import ProviderSettings

_GOOGLE: Final = "https://accounts.google.com"
_MICROSOFT: Final = "https://login.microsoftonline.com"
_GITHUB: Final = "https://github.com"
_GITHUB_API: Final = "https://api.github.com"
# Whose `tid` is in every token of a personal account, as Microsoft documents it.
_CONSUMERS: Final = "9188040d-6c67-4c5b-b112-36a304b66dad"
TENANT: Final = "{tenantid}"
_TENANT_ID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
DISCOVERY: Final = "/.well-known/openid-configuration"


class Kind(msgspec.Struct, frozen=True):
    """What providers of one kind have in common. In braces: `address`, `api` and `tenant` of the settings.

    Attributes:
        issuer: whose word counts; `{tenantid}` stands in it for the `tid` of each token, where one issuer signs for many tenants.
        metadata: where its metadata is (OpenID Connect Discovery 1.0); empty: at the issuer's usual place.
        verified_claim: says whether the e-mail address is theirs, by one of `verified_values`.
        client_auth: how the client's secret travels (RFC 6749 §2.3.1).
        authorization, token, profile, emails: addresses of a provider without OpenID Connect; empty for others.
    """

    title: str
    issuer: str
    scopes: tuple[str, ...] = ("openid", "email")
    metadata: str = ""
    verified_claim: str = "email_verified"
    verified_values: tuple[Any, ...] = (True,)
    client_auth: str = "client_secret_basic"
    authorization: str = ""
    token: str = ""
    profile: str = ""
    emails: str = ""


KINDS: Final = {
    "google": Kind("Google", _GOOGLE, client_auth="client_secret_post"),
    # The `email` of a Microsoft token is what its tenant's administrator typed; only `xms_edov` says that it was proved.
    "microsoft": Kind(
        "Microsoft",
        "{address}/{tenant}/v2.0",
        metadata="{address}/{whose}/v2.0" + DISCOVERY,
        verified_claim="xms_edov",
        verified_values=(True, 1, "1", "true"),
        client_auth="client_secret_post",
    ),
    "github": Kind(
        "GitHub",
        "{address}/login/oauth",
        scopes=("user:email",),
        client_auth="client_secret_post",
        authorization="{address}/login/oauth/authorize",
        token="{address}/login/oauth/access_token",  # noqa: S106 - an address
        profile="{api}/user",
        emails="{api}/user/emails",
    ),
    "oidc": Kind("", "{issuer}"),
}
_ADDRESSES: Final = {"microsoft": _MICROSOFT, "github": _GITHUB}
_CLIENT_AUTH: Final = {"basic": "client_secret_basic", "post": "client_secret_post"}


class Provider(msgspec.Struct, frozen=True):
    """One provider as it is used.

    Attributes:
        name: by the settings; in our addresses.
        kind: with every address filled in.
        redirect_uri: where the provider sends people back to.
    """

    name: str
    title: str
    kind: Kind
    client_id: str
    secret: SecretStr | None
    scopes: tuple[str, ...]
    redirect_uri: str
    acr_values: tuple[str, ...]
    trust_factors: bool

    @property
    def issuer(self) -> str:
        return self.kind.issuer

    @property
    def openid(self) -> bool:
        """Whether it speaks OpenID Connect, so that a signed ID token says who came."""
        return not self.kind.profile

    @property
    def client_auth(self) -> str:
        return self.kind.client_auth if self.secret is not None else "none"

    def issuer_of(self, tenant: str | None) -> str | None:
        """The issuer that tokens of this tenant must name; None: there is no such one."""
        if TENANT not in self.issuer:
            return self.issuer
        return self.issuer.replace(TENANT, tenant) if tenant and _TENANT_ID.fullmatch(tenant) else None

    def is_issuer(self, given: str) -> bool:
        """Whether this is the issuer, or the one of some tenant."""
        start, tenanted, end = self.issuer.partition(TENANT)
        return given == self.issuer_of(given[len(start) : len(given) - len(end)] if tenanted else None)

    def __repr__(self) -> str:
        return f"<Provider {self.name}>"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        return [("name", self.name)]


def provider_of(name: str, settings: ProviderSettings, callback: str) -> Provider:
    """The provider of these settings. Pure.

    Args:
        name: as it is called in our addresses.
        settings: its table.
        callback: where it sends people back to, unless the settings say otherwise.
    """
    known = KINDS[settings.kind]
    kind = _filled(known, settings)
    return Provider(
        name=name,
        title=settings.title or kind.title or name,
        kind=kind,
        client_id=settings.client_id,
        secret=settings.client_secret,
        scopes=settings.scopes or kind.scopes,
        redirect_uri=settings.redirect_uri or callback,
        acr_values=settings.acr_values,
        trust_factors=settings.trust_factors,
    )


def _filled(kind: Kind, settings: ProviderSettings) -> Kind:
    address = (settings.address or _ADDRESSES.get(settings.kind, "")).rstrip("/")
    words = {
        "issuer": settings.issuer,
        "address": address,
        "api": _GITHUB_API if address == _GITHUB else f"{address}/api/v3",
        "whose": settings.tenant,
        "tenant": {"common": TENANT, "organizations": TENANT, "consumers": _CONSUMERS}.get(settings.tenant, settings.tenant),
    }
    addresses = ("issuer", "metadata", "authorization", "token", "profile", "emails")
    filled = {name: getattr(kind, name).format_map(words) for name in addresses}
    filled["metadata"] = filled["metadata"] or filled["issuer"].rstrip("/") + DISCOVERY
    return msgspec.structs.replace(
        kind,
        **filled,
        verified_claim=settings.verified_claim or kind.verified_claim,
        client_auth=_CLIENT_AUTH.get(settings.client_auth, kind.client_auth),
    )
