"""Benchmarks: measured and looked at by people, asserted by nobody."""
