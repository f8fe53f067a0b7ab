"""The shop with limits that no test reaches and a domain that breaks, for tests that crawl every route."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID, uuid4

import msgspec
from tests.http.guarded import Guarded
from tests.http.mailed import Mailed

from fortress import Fortress
from fortress.data import Database
from fortress.domain import Domain
from fortress.domains import Notifications, standard
from fortress.domains.identity.service.letters import PASSWORD_CHANGED
from fortress.domains.notifications.service import Links
from fortress.domains.notifications.service.digest import DIGEST
from fortress.http import PUBLIC, Input, Limit, Request, Route, get, per_minute, post
from fortress.http.router import parameters_of
from fortress.mail import NOTHING
from fortress.security import SYSTEM
from fortress.testing.callers import PASSWORD, Callers
from fortress.testing.client import Caller, Client, Reply
from fortress.testing.plugin import ADMIN, ADMIN_PASSWORD
from shop.orders.manifest import orders

MARKER: Final = "sesame-42-marker"
BASKET: Final = {"items": [{"sku": "TEA-GREEN", "quantity": 1}]}
NOBODY_OF_THIS_ID: Final = "01a2053f-e4f4-737b-a0aa-fca20d01e174"


class Anything(Input):
    """A body."""

    text: str


@get("/breaks", allow=PUBLIC, limit=per_minute(100_000))
async def break_down(request: Request) -> None:
    """Fail in a way that nobody foresaw, with a secret in the error."""
    raise RuntimeError(f"SELECT password FROM users -- {MARKER} {request.path}")


@post("/breaks", allow=PUBLIC, limit=per_minute(100_000))
async def break_down_later(data: Anything) -> None:
    """Fail after the body was read."""
    raise KeyError(MARKER, data)


@get("/scarce", allow=PUBLIC, limit=per_minute(1))
async def be_scarce() -> None:
    """Answer once a minute."""


BROKEN: Final = Domain(name="broken", routes=[break_down, break_down_later, be_scarce])


def generous(route: Route, limit: Limit) -> Limit:
    """A limit that no test reaches, but for the route that is there to reach it."""
    return limit if route.path == "/scarce" else msgspec.structs.replace(limit, quota=1_000_000)


class Roaming(Client):
    """Each call comes from another loopback address: the limits of unknown paths and methods are not the project's to raise."""

    _calls = 0

    async def call(self, method: str, path: str, **options: Any) -> Reply:
        self._calls += 1
        self._address = f"127.{self._calls >> 16 & 255}.{self._calls >> 8 & 255}.{self._calls & 255}"
        return await super().call(method, path, **options)


def make_app() -> Fortress:
    """The shop, its own routes and the broken domain's, under generous limits."""
    return Fortress(title="Shop", version=2, domains=[*standard, orders, BROKEN], limit=generous)


class Site:
    """A running app with somebody in it who may do everything and has one of everything.

    Attributes:
        routes: everything that is served, as (verb, path with `{parameters}`, body that succeeds).
    """

    def __init__(self, app: Fortress) -> None:
        self.app = app
        self.client = Roaming(app, base="")
        self.callers = Callers(Client(app), ADMIN, ADMIN_PASSWORD)
        self.api = Client(app)
        self.ids: dict[str, str] = {}
        self.keys: dict[str, str] = {}
        self.admin = Caller("nobody yet")
        self.leaver = Caller("nobody yet")
        self.guarded = Guarded(self.api, self.callers)
        self.mailed = Mailed(app, self.api, self.callers)

    async def furnish(self) -> None:
        """Have one thing of each kind."""
        self.admin = await self.callers.administrator()
        person = await self.callers.person("somebody")
        self.leaver = await self.callers.person()
        order = await self.api.post("/orders", BASKET, as_=self.admin)
        key = await self.api.post("/api-keys", {"name": "one", "scopes": ["orders:read"]}, as_=self.admin)
        await self.callers.sign_in("administrator", ADMIN, ADMIN_PASSWORD)
        sessions = await self.api.get("/users/me/sessions", as_=self.admin)
        other = next(one["id"] for one in sessions.json()["items"] if not one["current"])
        role = await self.api.post("/roles", ROLE | {"name": "spare"}, as_=self.admin)
        named = {"role": role.json()["name"], "permission": "users:read"}
        self.ids = named | {"order_id": order.json()["id"], "key_id": key.json()["id"], "session_id": other, "user_id": person.id}
        await self._furnish_keys(person)
        await self.guarded.furnish()
        self.ids["passkey_id"] = self.guarded.spare
        await self._furnish_notifications()
        await self._furnish_webhooks()

    async def _furnish_webhooks(self) -> None:
        """A webhook, and something that it is to be sent."""
        webhook = (await self.api.post("/webhooks", BODIES["make_webhook"], as_=self.admin)).json()["id"]
        delivery = (await self.api.post(f"/webhooks/{webhook}/test", as_=self.admin)).json()["id"]
        self.ids |= {"webhook_id": webhook, "delivery_id": delivery}

    async def _furnish_notifications(self) -> None:
        """Something that the administrator was told, and the link in a mail of theirs."""
        assert self.app.runtime is not None
        services, me = self.app.runtime.container, UUID(str(self.admin.id))
        async with services.get(Database).unit(SYSTEM) as unit:
            await services.get(Notifications).tell(unit, me, PASSWORD_CHANGED, NOTHING)
        told = (await self.api.get("/notifications", as_=self.admin)).json()["items"]
        self.ids |= {"notification_id": told[0]["id"], "token": services.get(Links).token(me, DIGEST)}

    async def _furnish_keys(self, person: Caller) -> None:
        """A service account, a key of it and one of somebody else's: these are found at addresses of their own."""
        service = (await self.api.post("/service-accounts", {"name": "one", "roles": ["clerk"]}, as_=self.admin)).json()["id"]
        self.ids["service_id"] = service
        wanted = {"name": "one", "scopes": ["orders:read"]}
        for owner, keys, by in (("service_id", f"/service-accounts/{service}/keys", self.admin), ("user_id", "/api-keys", person)):
            self.keys[owner] = (await self.api.post(keys, wanted, as_=by)).json()["id"]

    def addresses(self) -> list[tuple[Route, str]]:
        """Every route at every address it has, parameters filled with what is there."""
        runtime = self.app.runtime
        assert runtime is not None
        found = []
        for route in self.app.assemble().routes:
            versions = range(route.policy.get("since", 1), route.policy.get("until", self.app.version) + 1) if route.versioned else (0,)
            found += [(route, (f"/api/v{version}" if version else "") + self.filled(route.path)) for version in versions]
        return found

    def filled(self, path: str, **ids: str) -> str:
        """The path with its parameters filled."""
        wanted = parameters_of(path)
        key = next((key for owner, key in self.keys.items() if owner in wanted), self.ids.get("key_id", ""))
        known = {"name": "swagger-ui.css", **self.ids, "key_id": key, **ids}
        for name, kind in wanted.items():
            path = path.replace(f"{{{name}:{kind}}}", known.get(name, NOBODY_OF_THIS_ID))
        return path

    async def body(self, route: Route) -> Any:
        """A body that this route takes; None: it takes none."""
        if route.name == "refresh":
            return {"refresh_token": (await self.callers.tokens(ADMIN, ADMIN_PASSWORD))["refresh_token"]}
        if self.guarded.concerns(route.name):
            return await self.guarded.body(route.name)
        if self.mailed.concerns(route.name):
            return await self.mailed.body(route.name)
        if route.name == "make_service_account":
            return {"name": f"service {uuid4()}", "roles": ["clerk"]}
        if route.name == "make_role":
            return ROLE | {"name": f"role-{uuid4()}"}
        return BODIES.get(route.name)

    def caller_of(self, route: Route) -> Caller:
        """Who succeeds: the administrator, or who has second factors where these are what it is about."""
        if route.name == "erase_me":
            return self.leaver
        return self.guarded.caller if self.guarded.concerns(route.name) else self.admin

    async def call(self, route: Route, address: str, **options: Any) -> Reply:
        """One request with a body that succeeds, by who may."""
        body = await self.body(route)
        given = {"json": body, "as_": self.caller_of(route), **options}
        if route.name == "read_csrf_token":
            given["headers"] = (await self.callers.in_browser("administrator", ADMIN, ADMIN_PASSWORD)).headers
        reply = await self.client.call(route.verb, address, **given)
        if reply.status < 300:
            self.mailed.used(route.name)
            if route.name == "erase_me":
                self.leaver = await self.callers.person()
        return reply


ROLE: Final[dict[str, Any]] = {"title": "Reads the log", "grants": ["audit:read"], "second_factor": False}
BODIES: Final[dict[str, Any]] = {
    "sign_up": {"email": "new@example.com", "password": PASSWORD, "age": 30, "name": "New"},
    "sign_in": {"email": ADMIN, "password": ADMIN_PASSWORD},
    "change_password": {"current_password": ADMIN_PASSWORD, "new_password": "another one of a test"},
    "change_user": {"status": "active"},
    "change_me": {"name": "New"},
    "erase_me": {"password": PASSWORD},
    "start_provider_sign_in": {"redirect_to": "/"},
    "finish_provider_sign_in": {"state": "a state", "code": "a code"},
    "start_linking_identity": {"redirect_to": "/"},
    "finish_linking_identity": {"state": "a state", "code": "a code"},
    "change_email": {"new_email": "other@example.com", "password": ADMIN_PASSWORD},
    "change_email_of": {"new_email": "other@example.com"},
    "forgot_password": {"email": ADMIN},
    "resend_verification": {"email": ADMIN},
    "make_api_key": {"name": "two", "scopes": ["orders:read"], "expires_in_days": 3},
    "change_api_key": {"name": "three", "networks": []},
    "rotate_api_key": {"overlap_hours": 1},
    "change_service_account": {"disabled": False},
    "make_key_of_service": {"name": "two", "scopes": ["orders:read"]},
    "change_key_of_service": {"name": "three"},
    "rotate_key_of_service": {"overlap_hours": 1},
    "replace_roles": {"roles": ["member", {"name": "clerk", "expires_at": "2100-01-01T00:00:00Z"}]},
    "change_role": ROLE,
    "place_order": BASKET,
    "change_order": {"note": "Ring twice"},
    "cancel_orders": {"order_ids": ["01890000-0000-7000-8000-000000000000"]},
    "mark_notification": {"read": True},
    "mark_notifications": {"read_until": "2100-01-01T00:00:00Z"},
    "choose_preferences": {"locale": "en", "delivery": {}},
    "make_webhook": {"name": "one", "url": "https://localhost/in", "facts": ["OrderPlaced"]},
    "change_webhook": {"name": "two"},
    "rotate_webhook_secret": {"overlap_hours": 1},
    "break_down_later": {"text": "x"},
}
