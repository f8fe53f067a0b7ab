"""Who may what, as data. No code decides this anywhere else."""

from fortress.domains.access.contract import EVERYBODY, OWN_PERMISSIONS
from fortress.domains.notifications.contract import NOTIFICATIONS_READ, NOTIFICATIONS_WRITE
from fortress.security import SESSION_ONLY, Permission, Role

ACCOUNT_READ = Permission("account:read", "See one's own account")
ACCOUNT_WRITE = Permission("account:write", "Change one's own name and address", by=SESSION_ONLY)
ACCOUNT_PASSWORD = Permission("account:password", "Change one's own password", by=SESSION_ONLY)
ACCOUNT_SESSIONS = Permission("account:sessions", "See and end one's own sessions", by=SESSION_ONLY)
ACCOUNT_KEYS = Permission("account:api-keys", "Make, see and revoke one's own API keys", by=SESSION_ONLY)
ACCOUNT_EXPORT = Permission("account:export", "Get everything that is kept of oneself", by=SESSION_ONLY)
ACCOUNT_ERASE = Permission("account:erase", "Erase one's own account", by=SESSION_ONLY)
ACCOUNT_IDENTITIES = Permission("account:identities", "See, link and unlink one's own identities elsewhere", by=SESSION_ONLY)
ACCOUNT_FACTORS = Permission("account:factors", "See and change one's own second factors and passkeys", by=SESSION_ONLY)

USERS_LIST = Permission("users:list", "List everyone")
USERS_READ = Permission("users:read", "See an account", reach=True)
USERS_WRITE = Permission("users:write", "Disable and enable accounts, start a new password or address for them", by=SESSION_ONLY)

KEYS_MANAGE = Permission("api-keys:manage", "See and revoke everyone's API keys", by=SESSION_ONLY)
SERVICES_READ = Permission("service-accounts:read", "See service accounts and their keys", by=SESSION_ONLY)
SERVICES_WRITE = Permission("service-accounts:write", "Make, change and remove service accounts and their keys", by=SESSION_ONLY)

MEMBER = Role(
    EVERYBODY,
    "Looks after their own account",
    grants=[
        ACCOUNT_READ,
        ACCOUNT_WRITE,
        ACCOUNT_PASSWORD,
        ACCOUNT_SESSIONS,
        ACCOUNT_KEYS,
        ACCOUNT_EXPORT,
        ACCOUNT_ERASE,
        ACCOUNT_IDENTITIES,
        ACCOUNT_FACTORS,
        OWN_PERMISSIONS,
        NOTIFICATIONS_READ,
        NOTIFICATIONS_WRITE,
        USERS_READ.own,
    ],
    by_default=True,
)
