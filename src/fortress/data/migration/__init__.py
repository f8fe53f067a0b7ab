"""Schema changes, by migration only: one chain of revisions per domain, `pre` or `post` the new code.

A domain's chain lies in the folder `migrations/` next to its manifest. A server asks `Schema` whether its database fits; only what
changes or checks the schema loads Alembic.
"""

from fortress.data.migration.migrator import BranchStatus, Migrations
from fortress.data.migration.names import HEAD, Branch, Phase, Revision, runtime_branch
from fortress.data.migration.schema import Schema, SchemaState
from fortress.data.migration.session import MigrationFailed, Patience

__all__ = [
    "HEAD",
    "Branch",
    "BranchStatus",
    "MigrationFailed",
    "Migrations",
    "Patience",
    "Phase",
    "Revision",
    "Schema",
    "SchemaState",
    "runtime_branch",
]
