"""Who may what, and why."""

from __future__ import annotations

from uuid import UUID

from fortress.data import Page
from fortress.domains.access.contract import OWN_PERMISSIONS, NotAHolder, UnknownPermission
from fortress.domains.access.policy import READ
from fortress.domains.access.service import ExplainService
from fortress.domains.access.service.explaining import Explanation, HeldPermission, OwnExplanation
from fortress.http import get, per_minute
from fortress.security import Principal


@get("/users/me/permissions", allow=OWN_PERMISSIONS, limit=per_minute(300))
async def list_my_permissions(explaining: ExplainService, principal: Principal) -> Page[HeldPermission]:
    """List what you may do, and by which roles."""
    return Page(await explaining.own(principal), None)


@get("/users/me/permissions/{permission:str}", allow=OWN_PERMISSIONS, limit=per_minute(300), errors=[UnknownPermission])
async def explain_my_permission(permission: str, explaining: ExplainService, principal: Principal) -> OwnExplanation:
    """Explain why you may do something, or what is missing."""
    return await explaining.explain_own(principal, permission)


@get("/users/{user_id:uuid}/permissions/{permission:str}", allow=READ, limit=per_minute(300), errors=[NotAHolder, UnknownPermission])
async def explain_permission(user_id: UUID, permission: str, explaining: ExplainService) -> Explanation:
    """Explain why a user may do something, or what is missing."""
    return await explaining.explain(user_id, permission)
