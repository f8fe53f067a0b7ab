"""`fortress audit verify`: what it says, and how it ends."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from fortress.commands.audit import audit_app
from fortress.domains.audit.contract import Breach, Fault, Verdict

SOUND = Verdict(2, 7, 0, 0.0, True, ())
BROKEN = Verdict(2, 7, 3, 12.4, False, (Breach(Fault.CHANGED_ROW, 1, "abc"), Breach(Fault.MISSING_SEAL, 2)))


@pytest.mark.parametrize(
    ("verdict", "code", "told"),
    [
        (SOUND, 0, ["The log is sound: 7 rows under 2 seals."]),
        (
            BROKEN,
            1,
            [
                "seal 1: changed row abc",
                "seal 2: missing seal",
                "3 rows are not sealed yet, the oldest for 12 s; nothing is said of them.",
                "This server has no witness of the last seal, so a tail cut off with its seals would not be noticed.",
            ],
        ),
    ],
)
def test_it_says_what_is_wrong_and_ends_with_1_then(verdict: Verdict, code: int, told: list[str]) -> None:
    ended = CliRunner().invoke(audit_app(lambda: verdict), ["verify"])
    assert ended.exit_code == code
    assert ended.output.splitlines() == told


def test_as_json_it_is_for_machines() -> None:
    ended = CliRunner().invoke(audit_app(lambda: BROKEN), ["verify", "--json"])
    assert ended.exit_code == 1
    assert json.loads(ended.output)["breaches"][0] == {"fault": "changed_row", "seal": 1, "row": "abc"}
