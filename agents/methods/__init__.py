"""Methods, one file per family. Listing them imports no torch."""

from plasticity_bench.agents.methods.base import Method, MethodInfo
from plasticity_bench.agents.methods.papers import Paper

__all__ = ["Method", "MethodInfo", "Paper"]
