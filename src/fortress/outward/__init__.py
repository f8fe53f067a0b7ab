"""Asking addresses that somebody else has chosen: never further than where everybody may be asked, within time and size."""

from fortress.outward.destination import Destination, RefusedDestination, read_destination
from fortress.outward.posting import Answered, Fault, Outward, Unanswered

__all__ = ["Answered", "Destination", "Fault", "Outward", "RefusedDestination", "Unanswered", "read_destination"]
