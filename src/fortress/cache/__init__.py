"""The cache: L1 in each process, L2 in Redis where there is one, then the database; invalidated by the commit.

How stale an answer can be, and why, is told in docs/guide-cache.md.
"""

from fortress.cache.declare import cached
from fortress.cache.methods import CachedMethod
from fortress.cache.queries import CachedMany, CachedOne, CachedPages

__all__ = ["CachedMany", "CachedMethod", "CachedOne", "CachedPages", "cached"]
