"""Who may what, as data. No code decides this anywhere else."""

from fortress.domains.access.contract import ADMINISTRATOR
from fortress.security import EVERYTHING, SESSION_ONLY, Permission, Role

READ = Permission("roles:read", "See the roles and permissions that there are, and who may what")
ASSIGN = Permission("roles:assign", "Decide who holds which roles", by=SESSION_ONLY)
WRITE = Permission("roles:write", "Make, change and remove roles", by=SESSION_ONLY)

ADMIN = Role(ADMINISTRATOR, "May do everything", grants=EVERYTHING)
