"""Facts: what has happened, told to whoever follows the log."""

from fortress.events.fact import Fact

__all__ = ["Fact"]
