"""The caller, as FastAPI's page on OAuth2 scopes and PyJWT has it: the token is verified, then the user is loaded."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

import jwt
from fastapi import Depends, HTTPException, Security, status
from fastapi.security import OAuth2PasswordBearer, SecurityScopes

from bench.peers.fastapi_stack.database import Session
from bench.peers.fastapi_stack.models import User
from bench.peers.fastapi_stack.settings import ALGORITHM, SECRET

oauth2_scheme = OAuth2PasswordBearer(tokenUrl="token", scopes={"orders:read": "See orders", "orders:place": "Place an order"})


async def get_current_user(security_scopes: SecurityScopes, token: Annotated[str, Depends(oauth2_scheme)], session: Session) -> User:
    challenge = f'Bearer scope="{security_scopes.scope_str}"' if security_scopes.scopes else "Bearer"
    unauthenticated = HTTPException(status.HTTP_401_UNAUTHORIZED, "Could not validate credentials", {"WWW-Authenticate": challenge})
    try:
        payload = jwt.decode(token, SECRET, algorithms=[ALGORITHM])
        user_id = UUID(payload["sub"])
    except (jwt.InvalidTokenError, KeyError, ValueError):
        raise unauthenticated from None
    user = await session.get(User, user_id)
    if user is None or not user.active:
        raise unauthenticated
    granted = payload.get("scope", "").split(" ")
    if not all(scope in granted for scope in security_scopes.scopes):
        raise HTTPException(status.HTTP_403_FORBIDDEN, "Not enough permissions", {"WWW-Authenticate": challenge})
    return user


Reader = Annotated[User, Security(get_current_user, scopes=["orders:read"])]
Buyer = Annotated[User, Security(get_current_user, scopes=["orders:place"])]
