"""The table of contents, and the only thing the outside imports to run us."""

from __future__ import annotations

from fortress.domain import Domain, Upkeep, migrations_beside
from fortress.domains.audit import rest
from fortress.domains.audit.contract import AuditTrail
from fortress.domains.audit.models import AuditSeal
from fortress.domains.audit.policy import READ
from fortress.domains.audit.repository import LogRepository, SealRepository
from fortress.domains.audit.service import AuditRecords, LogService, SealingService, VerifyingService, Witness
from fortress.telemetry.instruments import Merge
from fortress.telemetry.metrics import Metrics


async def seal_the_log(sealing: SealingService, metrics: Metrics) -> None:
    """Bind what was committed since the last time into the chain, and show what could not be yet."""
    await sealing.seal()
    metrics.gauge("audit_unsealed_rows", "Rows of the audit log that no seal covers yet.", merge=Merge.MAX).set(await sealing.unsealed())


audit = Domain(
    name="audit",
    door=AuditTrail,
    services=[AuditRecords, VerifyingService, SealingService, LogService, Witness, LogRepository, SealRepository],
    permissions=[READ],
    models=[AuditSeal],
    routes=rest,
    migrations=migrations_beside(__name__),
    personal=AuditRecords,
    upkeep=[Upkeep("audit.seal", lambda settings: settings.audit_seal_seconds, seal_the_log)],
)
