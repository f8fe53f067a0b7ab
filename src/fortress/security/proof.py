"""What a route may ask of the proof itself, beyond who the caller is: how fresh it is, and of how many factors.

RFC 9470: the refusal tells a client what to do, so that it can ask the person and come back.
"""

from __future__ import annotations

import math
from datetime import timedelta

import msgspec

from fortress.errors import Unauthenticated
from fortress.security.permissions import FACTORS, Method
from fortress.security.principal import Principal

_ERROR = 'Bearer error="insufficient_user_authentication"'


class ReauthenticationRequired(Unauthenticated):
    """Prove once more who you are (POST /auth/reauthenticate), then do the same again."""

    code, title = "auth.reauthentication_required", "Prove once more who you are"

    def __init__(self, max_age: int) -> None:
        challenge = f"{_ERROR}, max_age={max_age}"
        super().__init__(headers={"www-authenticate": challenge}, data={"max_age": max_age})


class SecondFactorRequired(Unauthenticated):
    """This needs a session with a second factor: enrol one if you have none, then prove it (POST /auth/reauthenticate)."""

    code, title = "auth.second_factor_required", "A second factor is needed"

    def __init__(self) -> None:
        super().__init__(headers={"www-authenticate": f'{_ERROR}, acr_values="2"'}, data={"factors": FACTORS})


class Proof(msgspec.Struct, frozen=True):
    """What is asked of a session.

    Attributes:
        max_age: seconds since the caller last proved who they are; infinite: any.
        factors: how many factors that proof had at least.
    """

    max_age: float
    factors: int

    def lacking(self, caller: Principal, now: float) -> Unauthenticated | None:
        """What to answer a caller whose proof is not good enough at `now` (Unix seconds); None when it is.

        Only sessions can be asked: a key proves nothing anew, and the permission's own table says whether keys may.
        """
        if caller.method is not Method.SESSION:
            return None
        if caller.factors < self.factors:
            return SecondFactorRequired()
        if now - caller.proved_at > self.max_age:
            return ReauthenticationRequired(int(self.max_age))
        return None


def proof_of(fresh: timedelta | None, factor: int) -> Proof | None:
    """What a route's policy asks; None when it asks nothing."""
    if fresh is None and factor < FACTORS:
        return None
    return Proof(math.inf if fresh is None else fresh.total_seconds(), factor)
