"""Suites that every adapter of a port must pass: subclass one, give it the adapter as a fixture, and run it."""
