"""The two database roles: the owner migrates, `fortress_app` works, and what is append-only stays so for it.

Whatever the app's own connections are made to send, PostgreSQL itself refuses a change to the audit log (ASVS 5.0 §16.4.2).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

import asyncpg

from fortress.data.migration.schema import LOG_TABLE, VERSION_TABLE

APP_ROLE: Final = "fortress_app"
APPEND_ONLY: Final = ("audit_log", "events", "audit_seals")
_READ_ONLY: Final = (VERSION_TABLE, LOG_TABLE)

_TRIES: Final = 8
_PAUSE: Final = 0.05

_TABLES: Final = """
SELECT c.oid::regclass::text AS name, c.relname, c.relispartition,
       ARRAY(SELECT a.privilege_type FROM aclexplode(c.relacl) a WHERE a.grantee = $1::regrole) AS granted
FROM pg_class c
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND c.relowner <> $1::regrole
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')
ORDER BY c.oid"""

_MAY_REWRITE: Final = """
SELECT EXISTS (
    SELECT FROM pg_partition_tree(to_regclass('public.audit_log')) p, unnest(ARRAY['UPDATE', 'DELETE', 'TRUNCATE']) AS privilege
    WHERE has_table_privilege(p.relid, privilege)
) OR EXISTS (
    SELECT FROM unnest(ARRAY['UPDATE', 'DELETE', 'TRUNCATE']) AS privilege
    WHERE has_table_privilege(to_regclass('public.audit_log'), privilege)
)"""


class AppRole:
    """The role that the app works as.

    Args:
        login: the role of the app's URL, which must be able to become it; None when that is the owner itself.
        name: the role; one for all databases of a cluster, with grants of its own in each.
        append_only: tables that it may read and add to, but never change.
    """

    def __init__(self, login: str | None = None, *, name: str = APP_ROLE, append_only: Sequence[str] = APPEND_ONLY) -> None:
        self.name = name
        self._login = login
        self._append_only = frozenset(append_only)

    async def ensure(self, connection: asyncpg.Connection) -> str | None:
        """Make the role, let the login use it, and put every grant right; may be repeated at any time.

        Returns:
            None, or a warning: the owner may not make roles, and the app goes on as its login role.
        """
        try:
            await self._exist(connection)
            await self._lend(connection)
        except asyncpg.InsufficientPrivilegeError as error:
            return await self._do_without(connection, str(error))
        await self._grant(connection, self.name)
        return None

    async def _exist(self, connection: asyncpg.Connection) -> None:
        if not await _role_exists(connection, self.name):
            await _at_once(connection, f"CREATE ROLE {_quoted(self.name)} NOLOGIN")

    async def _lend(self, connection: asyncpg.Connection) -> None:
        login = self._login or await connection.fetchval("SELECT current_user")
        become = "SET" if connection.get_server_version().major >= 16 else "MEMBER"
        if not await connection.fetchval("SELECT pg_has_role($1, $2, $3)", login, self.name, become):
            await _at_once(connection, f"GRANT {_quoted(self.name)} TO {_quoted(login)}")

    async def _do_without(self, connection: asyncpg.Connection, why: str) -> str:
        """The login role itself gets the grants, unless it is the owner, who has them all."""
        owner = await connection.fetchval("SELECT current_user")
        login = self._login or owner
        if login != owner:
            await self._grant(connection, login)
        guarded = "it may not change the audit log" if login != owner else "it owns the audit log and could change it"
        return (
            f"the owner can't make the role {self.name} ({why}); the app works as {login}, and {guarded}. "
            f"A superuser helps: CREATE ROLE {self.name} NOLOGIN; GRANT {self.name} TO {login}"
        )

    async def _grant(self, connection: asyncpg.Connection, grantee: str) -> None:
        role = _quoted(grantee)
        async with connection.transaction():
            await connection.execute(f"GRANT USAGE ON SCHEMA public TO {role}")
            await self._keep_from_creating(connection, grantee)
            # New tables can be read and added to at once. To change rows is granted by name below, so that nothing
            # append-only, and no partition of it, is open to change for even a moment.
            await connection.execute(f"ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT, INSERT ON TABLES TO {role}")
            await connection.execute(f"ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT USAGE ON SEQUENCES TO {role}")
            await connection.execute(f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {role}")
            for table in await connection.fetch(_TABLES, grantee):
                wanted = self._wanted(table)
                await _set_grants(connection, table["name"], role, wanted, frozenset(table["granted"]))

    def _wanted(self, table: asyncpg.Record) -> frozenset[str]:
        name = table["relname"]
        if table["relispartition"] or name in _READ_ONLY:
            return frozenset(("SELECT",))
        return frozenset(("SELECT", "INSERT") if name in self._append_only else ("SELECT", "INSERT", "UPDATE", "DELETE"))

    async def _keep_from_creating(self, connection: asyncpg.Connection, grantee: str) -> None:
        """Databases that were first made by PostgreSQL 14 or older let everybody create tables."""
        if await connection.fetchval("SELECT has_schema_privilege($1, 'public', 'CREATE')", grantee):
            await connection.execute(f"REVOKE CREATE ON SCHEMA public FROM PUBLIC, {_quoted(grantee)}")


async def may_rewrite_audit(connection: asyncpg.Connection) -> bool:
    """True when the role in force could change or delete audit rows, directly or in a partition."""
    return bool(await connection.fetchval(_MAY_REWRITE))


async def reader_grants_only(connection: asyncpg.Connection, partition: str) -> None:
    """Cut everybody's grants on a new partition down to reading; rows go in through its parent, whose grants count."""
    grantees = await connection.fetch(
        "SELECT DISTINCT a.grantee::regrole::text AS role FROM pg_class c, aclexplode(c.relacl) a "
        "WHERE c.oid = to_regclass($1) AND a.grantee <> c.relowner AND a.grantee <> 0 AND a.privilege_type <> 'SELECT'",
        partition,
    )
    for row in grantees:
        await connection.execute(f"REVOKE ALL ON {partition} FROM {row['role']}")
        await connection.execute(f"GRANT SELECT ON {partition} TO {row['role']}")


async def _set_grants(connection: asyncpg.Connection, table: str, role: str, wanted: frozenset[str], granted: frozenset[str]) -> None:
    if surplus := granted - wanted:
        await connection.execute(f"REVOKE {', '.join(sorted(surplus))} ON {table} FROM {role}")
    if missing := wanted - granted:
        await connection.execute(f"GRANT {', '.join(sorted(missing))} ON {table} TO {role}")


async def _role_exists(connection: asyncpg.Connection, name: str) -> bool:
    return bool(await connection.fetchval("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)", name))


async def _at_once(connection: asyncpg.Connection, statement: str) -> None:
    """Run a statement on the cluster's shared catalogue, which no lock of one database guards from those of another.

    The same role or grant made elsewhere at this moment is as good as ours.
    """
    for attempt in range(1, _TRIES + 1):
        try:
            async with connection.transaction():
                await connection.execute(statement)
        except (asyncpg.DuplicateObjectError, asyncpg.UniqueViolationError):
            return
        except (asyncpg.InternalServerError, asyncpg.LockNotAvailableError):
            # "tuple concurrently updated" has no code of its own, only XX000.
            if attempt == _TRIES:
                raise
            await asyncio.sleep(_PAUSE * attempt)
        else:
            return


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
