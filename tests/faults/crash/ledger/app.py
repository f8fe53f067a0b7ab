"""A project for the crash tests: whatever is done in it leaves marks, and none can be overwritten."""

from __future__ import annotations

from tests.faults.crash.ledger.manifest import ledger

from fortress import Fortress
from fortress.domains import standard

app = Fortress(title="Ledger", domains=[*standard, ledger])
