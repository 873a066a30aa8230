"""How fast the product is, and against what: ``python -m benchmarks``."""
