"""The use cases of audit: read the log, seal it, verify it."""

from fortress.domains.audit.service.personal import AuditRecords
from fortress.domains.audit.service.reading import LogService
from fortress.domains.audit.service.sealing import SealingService
from fortress.domains.audit.service.verifying import VerifyingService
from fortress.domains.audit.service.witness import Witness

__all__ = ["AuditRecords", "LogService", "SealingService", "VerifyingService", "Witness"]
