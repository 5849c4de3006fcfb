"""Measurements side by side: `python -m benchmarks` runs all, `python -m benchmarks.NAME [--quick] [--json]` one."""
