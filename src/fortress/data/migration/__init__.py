"""Schema changes, by migration only: one chain of revisions per domain, `pre` or `post` the new code."""
