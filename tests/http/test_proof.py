"""What a route asks of a proof, and what of a role (ASVS V6.3.3, V7.5.3; RFC 9470)."""

from __future__ import annotations

import math
from datetime import timedelta
from uuid import uuid4

import pytest

from fortress.http import minutes
from fortress.security import Method, Permission, PermissionTable, Principal, Role
from fortress.security.directory import Holding
from fortress.security.proof import Proof, ReauthenticationRequired, SecondFactorRequired, proof_of
from fortress.settings import Settings

NOW = 1_800_000_000.0
READ, WRITE = Permission("things:read", "Read"), Permission("things:write", "Write")


def caller(age: float, factors: int, method: Method = Method.SESSION) -> Principal:
    return Principal(uuid4(), method, session=uuid4(), proved_at=NOW - age, factors=factors)


@pytest.mark.parametrize(
    ("proof", "age", "factors", "expected"),
    [
        (Proof(300, 1), 0, 1, None),
        (Proof(300, 1), 300, 1, None),
        (Proof(300, 1), 300.001, 1, ReauthenticationRequired),
        (Proof(300, 1), 301, 2, ReauthenticationRequired),
        (Proof(math.inf, 2), 10**9, 2, None),
        (Proof(math.inf, 2), 0, 1, SecondFactorRequired),
        (Proof(300, 2), 301, 1, SecondFactorRequired),
        (Proof(300, 2), 301, 2, ReauthenticationRequired),
        (Proof(300, 2), 300, 2, None),
        # A clock that went back is no reason to send anybody away.
        (Proof(300, 1), -5, 1, None),
    ],
)
def test_what_a_proof_lacks(proof: Proof, age: float, factors: int, expected: type[Exception] | None) -> None:
    lacking = proof.lacking(caller(age, factors), NOW)
    assert (None if lacking is None else type(lacking)) is expected


@pytest.mark.parametrize("method", [Method.API_KEY, Method.SYSTEM, Method.NONE])
def test_only_sessions_can_prove_anything_anew(method: Method) -> None:
    assert Proof(300, 2).lacking(caller(10**9, 0, method), NOW) is None


def test_refusals_say_what_to_do_and_nothing_else() -> None:
    stale, weak = ReauthenticationRequired(300), SecondFactorRequired()
    assert (stale.status, stale.code, stale.data) == (401, "auth.reauthentication_required", {"max_age": 300})
    assert stale.headers == {"www-authenticate": 'Bearer error="insufficient_user_authentication", max_age=300'}
    assert (weak.status, weak.code, weak.data) == (401, "auth.second_factor_required", {"factors": 2})
    assert weak.headers == {"www-authenticate": 'Bearer error="insufficient_user_authentication", acr_values="2"'}


def test_a_route_that_asks_nothing_has_no_proof() -> None:
    assert proof_of(None, 1) is None
    assert proof_of(minutes(5), 1) == Proof(300, 1)
    assert proof_of(None, 2) == Proof(math.inf, 2)
    assert proof_of(timedelta(hours=1), 2) == Proof(3600, 2)


def table() -> PermissionTable:
    roles = [Role("reader", "Reads", [READ]), Role("boss", "Does all", [READ, WRITE])]
    return PermissionTable([READ, WRITE], roles)


def test_a_role_told_to_ask_for_a_second_factor_is_locked_without_one_and_others_are_not() -> None:
    plain, asking = table(), table().asking_second_factor_of("boss")
    both = Holding(("reader", "boss"))
    whole = plain.held(both, Method.SESSION, 1)
    assert (plain.names_of(whole.grants), whole.locked) == (["things:read", "things:write"], 0)
    one = asking.held(both, Method.SESSION, 1)
    assert (asking.names_of(one.grants), asking.names_of(one.locked)) == (["things:read"], ["things:write"])
    two = asking.held(both, Method.SESSION, 2)
    assert (asking.names_of(two.grants), two.locked) == (["things:read", "things:write"], 0)
    assert asking.need(WRITE) == plain.need(WRITE), "the bits are the same in both"
    assert plain.roles["boss"].second_factor is False


def test_administrators_prove_two_factors_in_production_unless_told_otherwise() -> None:
    assert Settings().administrators_prove_two is False
    production = {"env": "production", "database_url": "postgresql://x", "keyring": "x"}
    assert Settings.model_validate(production).administrators_prove_two is True
    assert Settings.model_validate(production | {"admin_second_factor": False}).administrators_prove_two is False
