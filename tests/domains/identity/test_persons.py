"""A person's own data: handed to them whole, and forgotten for good (GDPR Art. 15, 17, 20; ASVS V14.2)."""

from __future__ import annotations

import io
import zipfile
from typing import Any

import msgspec
import pytest

from fortress.testing.callers import PASSWORD, Callers
from fortress.testing.client import Caller, Client

MARKER = "Zebedee Quillfeather"


async def someone(client: Client, callers: Callers, email: str = "zebedee@example.com") -> Caller:
    made = await client.post("/users", {"email": email, "password": PASSWORD, "age": 30, "name": MARKER})
    assert made.status == 201
    return await callers.sign_in("zebedee", email, PASSWORD)


async def test_the_export_holds_what_every_domain_keeps_and_no_secret(client: Client, callers: Callers) -> None:
    me = await someone(client, callers)
    order = await client.post("/orders", {"items": [{"sku": "TEA-GREEN", "quantity": 1}], "note": "ring twice"}, as_=me)
    assert order.status == 201
    got = await client.get("/users/me/export", as_=me)
    assert got.status == 200
    assert got.headers["content-disposition"] == 'attachment; filename="export.json"'
    assert got.headers["cache-control"] == "no-store"
    document = got.json()
    assert document["person"] == me.id
    assert {"identity", "access", "audit", "orders"} <= set(document["domains"])
    assert document["domains"]["orders"]["orders"][0]["note"] == "ring twice"
    text = got.body.decode()
    assert MARKER in text
    assert "zebedee@example.com" in text
    assert not [name for name in ("password_hash", "argon2", "token_hash", "previous_hash", "digest", "email_key") if name in text]


async def test_the_export_as_a_zip_has_a_folder_for_each_domain(client: Client, callers: Callers) -> None:
    me = await someone(client, callers)
    got = await client.get("/users/me/export", as_=me, headers={"accept": "application/zip"})
    assert (got.status, got.headers["content-type"]) == (200, "application/zip")
    with zipfile.ZipFile(io.BytesIO(got.body)) as archive:
        names = set(archive.namelist())
        accounts = msgspec.json.decode(archive.read("identity/accounts.json"))
    assert {"export.json", "identity/accounts.json", "access/roles.json", "audit/entries.json"} <= names
    assert accounts[0]["name"] == MARKER


async def test_nobody_exports_or_erases_without_being_somebody(client: Client) -> None:
    assert (await client.get("/users/me/export")).status == 401
    assert (await client.delete("/users/me", {"password": PASSWORD})).status == 401


@pytest.mark.parametrize("body", [{}, {"password": "not the password"}, {"password": None}])
async def test_forgetting_wants_the_password(client: Client, callers: Callers, body: dict[str, Any]) -> None:
    me = await someone(client, callers)
    refused = await client.delete("/users/me", body, as_=me)
    assert (refused.status, refused.json()["errors"][0]["code"]) == (422, "password.wrong")
    assert (await client.get("/users/me", as_=me)).status == 200


async def test_who_is_forgotten_is_nobody_any_more_and_others_keep_theirs(client: Client, callers: Callers) -> None:
    me, other = await someone(client, callers), await callers.person("other")
    bought = {"items": [{"sku": "TEA-GREEN", "quantity": 1}]}
    mine = (await client.post("/orders", bought | {"note": MARKER}, as_=me)).json()
    theirs = (await client.post("/orders", bought | {"note": "theirs"}, as_=other)).json()
    assert (await client.delete("/users/me", {"password": PASSWORD}, as_=me)).status == 204

    assert (await client.get("/users/me", as_=me)).status == 401
    assert (await client.post("/auth/login", {"email": me.email, "password": PASSWORD})).code == "auth.invalid_credentials"
    boss = await callers.administrator()
    assert (await client.get(f"/users/{me.id}", as_=boss)).status == 404
    seen = (await client.get(f"/orders/{mine['id']}", as_=boss)).json()
    assert (seen["note"], seen["total"]) == (None, mine["total"])
    assert (await client.get(f"/orders/{theirs['id']}", as_=other)).json()["note"] == "theirs"
    entries = (await client.get("/audit?limit=100", as_=boss)).json()["items"]
    assert "users.erased" in {entry["action"] for entry in entries if entry["target"] == me.id}
    assert MARKER not in str(entries)


async def test_the_address_of_a_forgotten_person_is_free_again(client: Client, callers: Callers) -> None:
    me = await someone(client, callers)
    assert (await client.delete("/users/me", {"password": PASSWORD}, as_=me)).status == 204
    again = await someone(client, callers)
    assert again.id != me.id


async def test_the_last_administrator_can_not_be_forgotten(client: Client, callers: Callers) -> None:
    boss = await callers.administrator()
    refused = await client.delete("/users/me", {"password": callers._admin[1]}, as_=boss)
    assert (refused.status, refused.code) == (409, "access.last_administrator")
    assert (await client.get("/users/me", as_=boss)).status == 200
