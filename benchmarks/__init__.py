"""Measures the package's speed and compares it with other implementations: ``python -m benchmarks``."""
