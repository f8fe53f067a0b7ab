"""The one flag that a stopping process shows."""

from __future__ import annotations

from fortress.http.drain import DrainState


def test_a_process_drains_from_the_first_signal_on() -> None:
    state = DrainState()
    assert not state.draining()
    for _ in range(2):
        state.begin()
        assert state.draining()
