"""API keys: no more than their owner may, shown once, revoked at once."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import msgspec
import pytest
from tests.domains.conftest import World

from fortress.data import Contended, PageQuery
from fortress.domains.access.service import AccessService, RoleService
from fortress.domains.access.service.defining import RoleWish
from fortress.domains.identity.contract import TooManyKeys, UnknownKey, UserStatus
from fortress.domains.identity.service import AccountService, Directory, KeyService
from fortress.domains.identity.service.keys import MOST, KeyWish, within
from fortress.errors import Invalid, StaleVersion
from fortress.security import SYSTEM
from fortress.security.apikeys import read_api_key
from fortress.security.proof import SecondFactorRequired


async def test_a_key_is_known_by_its_digest_and_carries_scopes(world: World) -> None:
    ann = await world.somebody()
    key, text = await world.get(KeyService).make(KeyWish("nightly", ["account:read"], 30), ann, await world.caller(ann))
    presented = read_api_key(text)
    known = await world.get(Directory).caller_of_key(presented.id)
    assert known is not None
    assert presented.matches(known.digest)
    assert (ann, ("account:read",), ("member",)) == (known.owner, known.scopes, known.holding.roles)
    assert text.startswith(key.prefix)
    assert text not in await world.owner.fetchval("SELECT k::text FROM api_keys k")


@pytest.mark.parametrize("scope", ["users:write", "users:list", "users:read.any", "no:such", "account:password", "*", ""])
async def test_a_scope_that_is_not_held_or_not_for_keys_is_refused_by_its_place(world: World, scope: str) -> None:
    ann = await world.somebody()
    with pytest.raises(Invalid) as refused:
        await world.get(KeyService).make(KeyWish("nightly", ["account:read", scope]), ann, await world.caller(ann))
    assert [error.field for error in refused.value.errors] == ["/scopes/1"]
    assert await world.owner.fetchval("SELECT count(*) FROM api_keys") == 0


def test_a_bare_name_means_the_grants_of_it_that_are_held() -> None:
    assert within(["orders:read"], ["orders:read.own", "users:list"]) == ("orders:read.own",)
    assert within(["orders:read"], ["orders:read.own", "orders:read.any"]) == ("orders:read.any", "orders:read.own")


async def test_a_key_ends_with_its_time_its_revocation_and_its_owner(world: World) -> None:
    keys, directory = world.get(KeyService), world.get(Directory)
    ann = await world.somebody()
    caller = await world.caller(ann)
    timed, _ = await keys.make(KeyWish("timed", ["account:read"], 1), caller.id, caller)
    revoked, _ = await keys.make(KeyWish("revoked", ["account:read"]), caller.id, caller)
    lasting, _ = await keys.make(KeyWish("lasting", ["account:read"]), caller.id, caller)
    world.callers.put("key", caller.reaching(caller.reach), 1e12, world.callers.stamp())
    await keys.revoke(revoked.id, caller.id, caller)
    assert await directory.caller_of_key(revoked.id) is None
    assert await directory.caller_of_key(timed.id) is not None
    world.clock.advance(timedelta(days=1))
    assert await directory.caller_of_key(timed.id) is None
    await world.get(AccountService).set_status(ann, UserStatus.DISABLED, SYSTEM)
    assert await directory.caller_of_key(lasting.id) is None


async def test_people_see_and_revoke_their_own_keys_only(world: World) -> None:
    keys = world.get(KeyService)
    ann, eve = await world.caller(await world.somebody()), await world.caller(await world.somebody("eve@example.com"))
    key, _ = await keys.make(KeyWish("nightly", ["account:read"]), ann.id, ann)
    assert [key.id] == [one.id for one in (await keys.recent(PageQuery(), ann.id, ann)).items]
    assert (await keys.recent(PageQuery(), eve.id, eve)).items == []
    with pytest.raises(UnknownKey):
        await keys.revoke(key.id, eve.id, eve)
    await keys.revoke(key.id, ann.id, ann)
    with pytest.raises(UnknownKey):
        await keys.revoke(key.id, ann.id, ann)


async def test_keys_are_bounded(world: World) -> None:
    keys = world.get(KeyService)
    ann = await world.caller(await world.somebody())
    for number in range(MOST):
        await keys.make(KeyWish(str(number), ["account:read"]), ann.id, ann)
    with pytest.raises(TooManyKeys):
        await keys.make(KeyWish("one more", ["account:read"]), ann.id, ann)


async def test_last_use_is_written_once_an_hour(world: World) -> None:
    ann = await world.caller(await world.somebody())
    key, _ = await world.get(KeyService).make(KeyWish("nightly", ["account:read"]), ann.id, ann)
    directory = world.get(Directory)
    used = []
    for minutes in (0, 30, 31):
        world.clock.advance(timedelta(minutes=minutes))
        await directory.key_seen(key.id)
        used.append(await world.owner.fetchval("SELECT used_at FROM api_keys"))
    assert used[0] == used[1] < used[2]


async def test_losing_a_role_takes_it_from_the_key_too(world: World) -> None:
    ann = await world.somebody("ann@example.com", "admin")
    await world.somebody("boss@example.com", "admin")
    key, _ = await world.get(KeyService).make(KeyWish("reader", ["audit:read"]), ann, await world.caller(ann))
    await world.get(AccessService).replace_roles(ann, [], SYSTEM)
    known = await world.get(Directory).caller_of_key(key.id)
    assert known is not None
    assert known.holding.roles == ("member",)


async def test_of_rotations_at_once_each_finds_the_key_that_it_read_or_fails(world: World) -> None:
    keys, ann = world.get(KeyService), await world.caller(await world.somebody())
    key, _ = await keys.make(KeyWish("nightly", ["account:read"]), ann.id, ann)
    rotations = [keys.rotate(key.id, ann.id, timedelta(hours=1), ann) for _ in range(6)]
    done = await asyncio.gather(*rotations, return_exceptions=True)
    made = [one[1] for one in done if not isinstance(one, BaseException)]
    assert made
    assert all(isinstance(one, tuple | StaleVersion | Contended) for one in done), done
    assert (await world.audited()).count("api_keys.rotated") == len(made)
    known = await world.get(Directory).caller_of_key(key.id)
    assert known is not None
    assert sum(read_api_key(text).matches(known.digest) for text in made) == 1, "the last one's secret is the key"


async def test_a_secret_that_reaches_behind_a_second_factor_is_not_given_without_one(world: World) -> None:
    """Whoever stole a session of one factor would else have what it takes two for."""
    ann = await world.somebody()
    await world.get(RoleService).make(RoleWish("guarded", "Guarded", ("users:list",), second_factor=True), SYSTEM)
    await world.get(AccessService).replace_roles(ann, ["guarded"], SYSTEM)
    one = await world.caller(ann)
    two = msgspec.structs.replace(one, factors=2)
    keys = world.get(KeyService)
    with pytest.raises(Invalid):
        await keys.make(KeyWish("nightly", ["users:list"]), ann, one)
    key, _ = await keys.make(KeyWish("nightly", ["users:list"]), ann, two)
    with pytest.raises(SecondFactorRequired):
        await keys.rotate(key.id, ann, timedelta(hours=1), one)
    await keys.rotate(key.id, ann, timedelta(hours=1), two)
    await world.get(AccessService).replace_roles(ann, [], SYSTEM)
    await keys.rotate(key.id, ann, timedelta(hours=1), one)


async def test_the_old_secret_ends_with_the_overlap(world: World) -> None:
    keys, directory = world.get(KeyService), world.get(Directory)
    ann = await world.caller(await world.somebody())
    key, _ = await keys.make(KeyWish("nightly", ["account:read"]), ann.id, ann)
    await keys.rotate(key.id, ann.id, timedelta(hours=1), ann)
    before = []
    for minutes in (0, 59, 1):
        world.clock.advance(timedelta(minutes=minutes))
        known = await directory.caller_of_key(key.id)
        assert known is not None
        before.append(known.previous is not None)
    assert before == [True, True, False]
