"""The only room that knows every part: settings → parts → domains → app."""

from fortress.bootstrap.app import Fortress

__all__ = ["Fortress"]
