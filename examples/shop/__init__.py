"""A shop: what a project on Fortress looks like, written against the public API alone."""
