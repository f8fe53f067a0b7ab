"""The door. Other domains write to the log through their unit of work; nobody but readers of the log needs more."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

import msgspec


class Fault(StrEnum):
    """What may be wrong with the log."""

    CHANGED_ROW = "changed_row"
    MISSING_ROW = "missing_row"
    EXTRA_ROW = "extra_row"
    CHANGED_SEAL = "changed_seal"
    FORGED_SEAL = "forged_seal"
    BROKEN_LINK = "broken_link"
    MISSING_SEAL = "missing_seal"
    CUT_TAIL = "cut_tail"


class Breach(msgspec.Struct, frozen=True):
    """One thing that is wrong: what, in which seal, and with which row if it is one row."""

    fault: Fault
    seal: int
    row: str | None = None

    def said(self) -> str:
        """In words."""
        return f"seal {self.seal}: {self.fault.value.replace('_', ' ')}" + (f" {self.row}" if self.row else "")


class Verdict(msgspec.Struct, frozen=True):
    """What a check of the whole log has found.

    Attributes:
        seals, rows: how many were checked.
        unsealed: rows that no seal covers yet, so that nothing can be said of them.
        unsealed_seconds: age of the oldest of these; 0 when there is none.
        witnessed: whether this server knows from elsewhere how long the log had been; else a cut tail can't be noticed.
        breaches: the first of what is wrong, in the order of the log.
    """

    seals: int
    rows: int
    unsealed: int
    unsealed_seconds: float
    witnessed: bool
    breaches: tuple[Breach, ...]

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong."""
        return not self.breaches


class AuditTrail(Protocol):
    """The log as a whole."""

    async def verify_audit_log(self) -> Verdict:
        """Check every row and every seal."""
        ...
