"""Benchmarks: each row is work done by Fortress and by what people would pick instead, in one run, as a ratio."""
