"""A browser as far as signing in with a provider needs one: it keeps cookies, and goes where it is sent."""

from __future__ import annotations

from typing import Any

from fortress.testing.client import NOBODY, Caller, Client, Reply


class Browser:
    """Calls the app with the cookies that it was given."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.cookies: dict[str, str] = {}
        self.seen: list[Reply] = []

    async def post(self, path: str, json: Any = None, *, as_: Caller = NOBODY) -> Reply:
        return await self._call("POST", path, json=json, as_=as_)

    async def get(self, path: str, *, as_: Caller = NOBODY) -> Reply:
        return await self._call("GET", path, as_=as_)

    async def delete(self, path: str, json: Any = None, *, as_: Caller = NOBODY) -> Reply:
        return await self._call("DELETE", path, json=json, as_=as_)

    async def start(self, name: str = "acme", **wish: Any) -> str:
        """Where the app sends this browser to."""
        begun = await self.post(f"/auth/providers/{name}/start", wish)
        assert begun.status == 200, begun.body
        return str(begun.json()["authorization_url"])

    async def complete(self, returned: dict[str, str], name: str = "acme", **more: Any) -> Reply:
        """Give the app what the provider sent back."""
        return await self.post(f"/auth/providers/{name}/complete", returned | more)

    async def _call(self, method: str, path: str, **options: Any) -> Reply:
        headers = {"cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())} if self.cookies else {}
        reply = await self._client.call(method, path, headers=headers, **options)
        for name, value in reply.raw_headers:
            if name == b"set-cookie":
                pair = value.decode().partition(";")[0]
                self.cookies[pair.partition("=")[0]] = pair.partition("=")[2]
        self.seen.append(reply)
        return reply
