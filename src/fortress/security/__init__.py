"""Who is asking and what they may: principals, permissions as data, keys, tokens, hashing."""

from fortress.security.permissions import (
    EVERYTHING,
    PUBLIC,
    SESSION_ONLY,
    Everything,
    Grant,
    Method,
    Permission,
    PermissionTable,
    Reach,
    Role,
)
from fortress.security.principal import ANONYMOUS, SYSTEM, Principal

__all__ = [
    "ANONYMOUS",
    "EVERYTHING",
    "PUBLIC",
    "SESSION_ONLY",
    "SYSTEM",
    "Everything",
    "Grant",
    "Method",
    "Permission",
    "PermissionTable",
    "Principal",
    "Reach",
    "Role",
]
