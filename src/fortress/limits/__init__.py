"""Limits: policies as data, GCRA with leases, and the stores that count."""
