"""Events: what has happened, readable."""
