"""The table of contents, and the only thing the outside imports to run us."""

from __future__ import annotations

from fortress.domain import Domain, migrations_beside
from fortress.domains.access import rest
from fortress.domains.access.contract import Access
from fortress.domains.access.events import RolesChanged
from fortress.domains.access.models import RoleHolder
from fortress.domains.access.policy import ADMIN, ASSIGN, READ
from fortress.domains.access.repository import RoleHolders
from fortress.domains.access.service import AccessService

access = Domain(
    name="access",
    door=Access,
    services=[AccessService, RoleHolders],
    permissions=[READ, ASSIGN],
    roles=[ADMIN],
    facts=[RolesChanged],
    models=[RoleHolder],
    routes=rest,
    migrations=migrations_beside(__name__),
)
