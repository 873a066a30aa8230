"""plasticity_bench: the benchmark for loss of plasticity."""

__version__ = "0.1.0"
