"""What somebody may do, against a model that works it out from the words alone."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fortress.domains.access.contract import EVERYBODY, NotHeld
from fortress.domains.access.repository import CustomGrants, Held
from fortress.domains.access.service.authority import Own
from fortress.domains.access.service.holdings import NEVER, administers_for_good, holding, in_use, standing
from fortress.security import EVERYTHING, SESSION_ONLY, Method, Permission, PermissionTable, Role

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
READ = Permission("things:read", "See things", reach=True)
WRITE = Permission("things:write", "Change things", reach=True, by=SESSION_ONLY)
LIST = Permission("things:list", "List things")
LOCK = Permission("things:lock", "Lock things", by=SESSION_ONLY)
DECLARED = (
    Role("admin", "All", EVERYTHING),
    Role(EVERYBODY, "Usual", [READ.own], by_default=True),
    Role("clerk", "Serves", [READ, LIST]),
    Role("vault", "Guards", [LOCK, WRITE.own], second_factor=True),
)
TABLE = PermissionTable([READ, WRITE, LIST, LOCK], DECLARED)
GRANTS = ["things:read.own", "things:read.any", "things:write.own", "things:write.any", "things:list", "things:lock"]
BY_KEY = {"things:read.own", "things:read.any", "things:list"}
GIVEN = {
    "admin": (set(GRANTS), False),
    EVERYBODY: ({"things:read.own"}, False),
    "clerk": ({"things:read.any", "things:list"}, False),
    "vault": ({"things:lock", "things:write.own"}, True),
}
MADE_NAMES = ["made-a", "made-b", "made-c", "clerk"]

custom = st.lists(
    st.builds(
        CustomGrants,
        name=st.sampled_from(MADE_NAMES),
        grants=st.lists(st.sampled_from([*GRANTS, "gone:grant"]), max_size=4).map(tuple),
        second_factor=st.booleans(),
    ),
    unique_by=lambda role: role.name,
    max_size=4,
).map(tuple)
names = st.lists(st.sampled_from([*GIVEN, *MADE_NAMES, "unknown"]), unique=True, max_size=6).map(tuple)
ends = st.integers(-3, 3).map(lambda hours: NOON + timedelta(hours=hours))


@st.composite
def rows(draw: st.DrawFn) -> Held:
    roles = draw(names)
    expires = {name: draw(ends) for name in roles if draw(st.booleans())}
    return Held(roles, draw(st.booleans()), expires, draw(custom))


def modelled(row: Held, method: Method, factors: int, lasting: datetime | None = None) -> tuple[set[str], set[str]]:
    """What may be used, and what could be after a second factor."""
    free, guarded = set[str](), set[str]()
    made = {role.name: (set(role.grants) & set(GRANTS), role.second_factor) for role in row.custom} | GIVEN
    held = [] if row.suspended else [EVERYBODY, *(name for name in row.roles if name != EVERYBODY)]
    for name in held:
        end = row.expires.get(name, NEVER) if name != EVERYBODY else NEVER
        if name not in made or end <= NOON or (lasting is not None and end < lasting):
            continue
        grants, second_factor = made[name]
        whole = grants | {grant.replace(".any", ".own") for grant in grants}
        usable = whole if method is Method.SESSION else whole & BY_KEY
        (guarded if second_factor else free).update(usable)
    return (free | guarded, set()) if factors >= 2 else (free, guarded - free)


@given(rows(), st.sampled_from([Method.SESSION, Method.API_KEY]), st.integers(1, 2))
def test_what_somebody_may_do_is_what_the_words_say(row: Held, method: Method, factors: int) -> None:
    held = TABLE.held(holding(row, NOON, TABLE), method, factors)
    free, locked = modelled(row, method, factors)
    assert (set(TABLE.names_of(held.grants)), set(TABLE.names_of(held.locked))) == (free, locked)


@given(rows(), st.integers(0, 6))
def test_what_somebody_holds_is_good_until_the_moment_it_says_and_other_then(row: Held, seconds: int) -> None:
    said = holding(row, NOON, TABLE)
    if said.until is None:
        assert msgspec.structs.replace(holding(row, NEVER - timedelta(1), TABLE), until=None) == said
        return
    assert said.until > NOON
    just_before = said.until - timedelta(microseconds=1)
    assert holding(row, just_before, TABLE) == said
    assert len(in_use(row, said.until)) < len(in_use(row, just_before))


@given(rows(), st.one_of(st.just(NEVER), ends), st.lists(st.sampled_from(GRANTS), max_size=4), st.integers(1, 2))
def test_somebody_gives_what_they_hold_for_as_long_and_nothing_else(row: Held, end: datetime, grants: list[str], factors: int) -> None:
    own = Own(row, factors, TABLE, NOON)
    may = set(grants) <= modelled(row, Method.SESSION, factors, end)[0]
    with nullcontext() if may else pytest.raises(NotHeld):
        own.refuse_beyond(TABLE.grants_named(grants), end)


def test_nobody_holds_nothing() -> None:
    assert holding(None, NOON, TABLE).roles == ()
    assert in_use(None, NOON) == ()


def test_a_declared_role_stands_before_a_made_one_of_its_name() -> None:
    row = Held(("clerk",), False, {}, (CustomGrants("clerk", ("things:lock",), False),))
    assert set(TABLE.names_of(TABLE.held(holding(row, NOON, TABLE), Method.SESSION, 1).grants)) == {
        "things:read.own",
        "things:read.any",
        "things:list",
    }


def test_only_an_administrator_without_an_end_and_in_use_counts_as_one_who_stays() -> None:
    for expected, row in (
        (True, Held(("admin",), False, {}, ())),
        (False, Held(("admin",), True, {}, ())),
        (False, Held(("admin",), False, {"admin": NEVER}, ())),
        (False, Held(("clerk",), False, {}, ())),
    ):
        assert administers_for_good(row) is expected


def test_an_end_that_has_come_is_no_role_any_more() -> None:
    row = Held(("clerk", "admin"), False, {"clerk": NOON}, ())
    assert [one.name for one in standing(row, NOON)] == ["admin"]
    assert [one.name for one in standing(row, NOON - timedelta(microseconds=1))] == ["clerk", "admin"]


def test_the_table_knows_its_grants() -> None:
    assert TABLE.declares("things:read.any")
    assert not TABLE.declares("things:read")
    assert not TABLE.declares("*")
    assert TABLE.permission_of("things:read.own") == "things:read"
    assert TABLE.implied(["things:read.any", "gone:grant", "things:list"]) == ("things:read.any", "things:read.own", "things:list")
