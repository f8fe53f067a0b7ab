"""Subscribers at work: each follows the log in lanes, and what it does is committed together with how far it has come."""

from fortress.events.following.followers import Followers, followers_of, logs_of, register
from fortress.events.following.herald import TOPIC, Herald
from fortress.events.following.kinds import FactKinds
from fortress.events.following.log import FactLog, Place
from fortress.events.following.tail import FactTail, LoggedFact

__all__ = ["TOPIC", "FactKinds", "FactLog", "FactTail", "Followers", "Herald", "LoggedFact", "Place", "followers_of", "logs_of", "register"]
