"""Benchmarks: each prints one row of docs/reference/benchmarks.md. Run them with ``make bench``."""
