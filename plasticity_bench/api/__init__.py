"""The Python interface. ``import plasticity_bench as pb`` offers it; see plasticity_bench/__init__.py."""
