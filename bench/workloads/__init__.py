"""The operations that bench.contest repeats. Each factory prepares one and yields it."""
