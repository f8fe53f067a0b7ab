"""The same real servers as the fault tests'."""

from tests.faults.conftest import address, app_target, fault_databases, fault_state, fault_template, serve

__all__ = ["address", "app_target", "fault_databases", "fault_state", "fault_template", "serve"]
