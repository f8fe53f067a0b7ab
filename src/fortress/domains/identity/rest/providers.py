"""Signing in with others, and the identities elsewhere that are linked to one's account."""

from __future__ import annotations

from typing import Annotated, Final
from uuid import UUID

from pydantic import ConfigDict, Field

from fortress.domains.identity.contract import (
    AccountExists,
    AccountUnusable,
    EmailNotProved,
    IdentityTaken,
    LastWayIn,
    MfaRequired,
    NoFreshProof,
    ProviderDeclined,
    ProviderFlowLost,
    ProviderNotTrusted,
    ProviderUnavailable,
    TooManyIdentities,
    UnknownIdentity,
    UnknownProvider,
)
from fortress.domains.identity.models import FlowPurpose
from fortress.domains.identity.policy import ACCOUNT_IDENTITIES
from fortress.domains.identity.rest.carrying import Carrier, Carrying, SignedIn
from fortress.domains.identity.rest.flow_cookie import FlowCookie
from fortress.domains.identity.rest.sessions import device_of
from fortress.domains.identity.service.providers import ConfiguredProviders, IdentityService, ProviderFlows, ProviderSignIn
from fortress.domains.identity.service.providers.flows import Response, Wish
from fortress.domains.identity.service.providers.views import (
    BegunView,
    IdentityView,
    ProviderView,
    identity_view,
    provider_view,
)
from fortress.errors import Refusal
from fortress.http import PUBLIC, Headed, Input, Request, SeeOther, delete, get, minutes, per_minute, post, strict
from fortress.http.csrf import CrossSite
from fortress.security import Principal

_REFUSED: Final = [ProviderFlowLost, ProviderDeclined, ProviderNotTrusted, ProviderUnavailable, UnknownProvider]
State = Annotated[str, Field(min_length=1, max_length=200)]
Code = Annotated[str, Field(min_length=1, max_length=4096)]
Issuer = Annotated[str, Field(min_length=1, max_length=500)]
Word = Annotated[str, Field(min_length=1, max_length=500)]
Path = Annotated[str, Field(min_length=1, max_length=200)]


class StartSignIn(Input):
    """Where the browser goes in the end, by our own callback; and whether the provider shall ask anew who it is."""

    redirect_to: Path | None = None
    fresh: bool = False


class StartLink(Input):
    """Where the browser goes in the end, by our own callback."""

    redirect_to: Path | None = None


class Returned(Input):
    """What the provider sent back: a code, or an error; whose words are dropped."""

    state: State
    code: Code | None = None
    iss: Issuer | None = None
    error: Word | None = None


class FinishSignIn(Returned):
    """What the provider sent back, and how the session shall be carried."""

    session: Carrier = "tokens"


class CallbackQuery(Returned):
    """What a provider appends to our address; it may append more (RFC 6749 §4.1.2)."""

    model_config = ConfigDict(extra="ignore")


@get("/auth/providers", allow=PUBLIC, limit=per_minute(300))
async def list_providers(providers: ConfiguredProviders) -> list[ProviderView]:
    """List whom one can sign in with."""
    return [provider_view(provider) for provider in providers.offered()]


@post(
    "/auth/providers/{name:str}/start",
    allow=PUBLIC,
    limit=strict(per_minute(30)),
    errors=[UnknownProvider, ProviderUnavailable, ProviderNotTrusted, NoFreshProof],
)
async def start_provider_sign_in(
    name: str, data: StartSignIn, flows: ProviderFlows, cookie: FlowCookie, request: Request
) -> Headed[BegunView]:
    """Begin to sign in with a provider: go to the address, in this browser, within ten minutes."""
    begun = await flows.begin(Wish(name, data.redirect_to, data.fresh), cookie.read(request))
    return Headed(BegunView(begun.authorization_url), (cookie.keep(begun.browser),))


@post(
    "/auth/providers/{name:str}/complete",
    allow=PUBLIC,
    limit=strict(per_minute(30)),
    errors=[*_REFUSED, AccountExists, EmailNotProved, AccountUnusable, MfaRequired, CrossSite],
)
async def finish_provider_sign_in(
    name: str, data: FinishSignIn, flows: ProviderFlows, entering: ProviderSignIn, carrying: Carrying, cookie: FlowCookie, request: Request
) -> SignedIn:
    """Sign in with what the provider sent back to a page of yours."""
    handover = carrying.to(request, data.session)
    response = _response(data, cookie.read(request))
    flow = await flows.take(name, response, FlowPurpose.SIGN_IN)
    return handover.of(await entering.enter(flow, await flows.proved(flow, response), device_of(request)))


@get("/auth/providers/{name:str}/callback", allow=PUBLIC, limit=strict(per_minute(30)), errors=[ProviderFlowLost, UnknownProvider])
async def return_from_provider(
    name: str,
    query: CallbackQuery,
    flows: ProviderFlows,
    entering: ProviderSignIn,
    identities: IdentityService,
    carrying: Carrying,
    cookie: FlowCookie,
    request: Request,
) -> SeeOther:
    """Come back from a provider: to the page that was asked for, with the session in cookies.

    What was refused is told to that page as `?error=` and its code; nothing of the provider's is in any address. With
    `auth.mfa_required` the token of the second step is in the cookie `fortress-mfa`.
    """
    handover = carrying.to(request, "cookie")
    response = _response(query, cookie.read(request))
    flow = await flows.take(name, response)
    try:
        proved = await flows.proved(flow, response)
        if flow.purpose is FlowPurpose.LINK:
            await identities.link(flow, proved)
            return SeeOther(flow.return_to)
        return SeeOther(flow.return_to, handover.of(await entering.enter(flow, proved, device_of(request))).headers)
    except MfaRequired as asked:
        return SeeOther(f"{flow.return_to}?error={asked.code}", (cookie.second_step(str(asked.data["mfa_token"])),))
    except Refusal as refusal:
        return SeeOther(f"{flow.return_to}?error={refusal.code}")


@get("/users/me/identities", allow=ACCOUNT_IDENTITIES, limit=per_minute(300))
async def list_my_identities(identities: IdentityService, principal: Principal) -> list[IdentityView]:
    """List the identities elsewhere that you can sign in with."""
    return [identity_view(identity) for identity in await identities.all_of(principal)]


@post(
    "/users/me/providers/{name:str}/start",
    allow=ACCOUNT_IDENTITIES,
    limit=strict(per_minute(10)),
    fresh=minutes(5),
    errors=[UnknownProvider, ProviderUnavailable, ProviderNotTrusted],
)
async def start_linking_identity(
    name: str, data: StartLink, flows: ProviderFlows, cookie: FlowCookie, request: Request, principal: Principal
) -> Headed[BegunView]:
    """Begin to link an identity elsewhere to your account: go to the address, in this browser, within ten minutes."""
    begun = await flows.begin(Wish(name, data.redirect_to, linker=principal), cookie.read(request))
    return Headed(BegunView(begun.authorization_url), (cookie.keep(begun.browser),))


@post(
    "/users/me/providers/{name:str}/complete",
    allow=ACCOUNT_IDENTITIES,
    limit=strict(per_minute(10)),
    errors=[*_REFUSED, IdentityTaken, TooManyIdentities],
)
async def finish_linking_identity(
    name: str,
    data: Returned,
    flows: ProviderFlows,
    identities: IdentityService,
    cookie: FlowCookie,
    request: Request,
    principal: Principal,
) -> IdentityView:
    """Link an identity with what the provider sent back to a page of yours."""
    response = _response(data, cookie.read(request))
    flow = await flows.take(name, response, FlowPurpose.LINK, principal)
    return identity_view(await identities.link(flow, await flows.proved(flow, response)))


@delete(
    "/users/me/identities/{identity_id:uuid}",
    allow=ACCOUNT_IDENTITIES,
    limit=per_minute(60),
    fresh=minutes(5),
    errors=[UnknownIdentity, LastWayIn],
)
async def unlink_identity(identity_id: UUID, identities: IdentityService, principal: Principal) -> None:
    """Unlink an identity; nobody can sign in by it any more."""
    await identities.unlink(identity_id, principal)


def _response(given: Returned, browser: str | None) -> Response:
    """What came back. No code, or one beside an error, is a no."""
    return Response(given.state, None if given.error is not None else given.code, given.iss, browser)
