"""The use cases. One method, one action, one transaction."""

from fortress.domains.access.service.assigning import AccessService
from fortress.domains.access.service.authority import Authority
from fortress.domains.access.service.defining import RoleService
from fortress.domains.access.service.explaining import ExplainService
from fortress.domains.access.service.operating import RoleOperations
from fortress.domains.access.service.personal import AccessRecords
from fortress.domains.access.service.usage import UsageService

__all__ = ["AccessRecords", "AccessService", "Authority", "ExplainService", "RoleOperations", "RoleService", "UsageService"]
