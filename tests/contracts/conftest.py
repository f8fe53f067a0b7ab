"""The same real servers as the fault tests'."""

from tests.faults.conftest import fault_databases, fault_state, fault_template, serve

__all__ = ["fault_databases", "fault_state", "fault_template", "serve"]
