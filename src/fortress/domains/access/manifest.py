"""The table of contents, and the only thing the outside imports to run us."""

from __future__ import annotations

from typing import Final

from fortress.domain import Domain, Upkeep, migrations_beside
from fortress.domains.access.contract import OWN_PERMISSIONS, Access
from fortress.domains.access.events import RoleChanged, RoleMade, RoleRemoved, RolesChanged
from fortress.domains.access.models import CustomRole, PermissionUse, RoleHolder
from fortress.domains.access.policy import ADMIN, ASSIGN, READ, WRITE
from fortress.domains.access.repository import CustomRoles, PermissionUses, RoleHolders
from fortress.domains.access.rest import ROUTES
from fortress.domains.access.service import (
    AccessRecords,
    AccessService,
    Authority,
    ExplainService,
    RoleOperations,
    RoleService,
    UsageService,
)

_MINUTE: Final = 60.0


async def take_ended_roles(access: AccessService) -> None:
    """What has ended counts for nothing already; this takes it off the books."""
    await access.take_ended()


access = Domain(
    name="access",
    door=Access,
    services=[
        AccessService,
        RoleService,
        ExplainService,
        UsageService,
        RoleOperations,
        AccessRecords,
        Authority,
        RoleHolders,
        CustomRoles,
        PermissionUses,
    ],
    permissions=[READ, ASSIGN, WRITE, OWN_PERMISSIONS],
    roles=[ADMIN],
    facts=[RolesChanged, RoleMade, RoleChanged, RoleRemoved],
    models=[RoleHolder, CustomRole, PermissionUse],
    routes=ROUTES,
    migrations=migrations_beside(__name__),
    personal=AccessRecords,
    upkeep=[Upkeep("access.take_ended_roles", _MINUTE, take_ended_roles)],
)
