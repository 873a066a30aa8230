"""The commands that the output of a command suggests to run next."""

from __future__ import annotations


def print_next_steps(*arguments: str) -> None:
    """Prints ``next:`` and a line for each; ``arguments``: what follows ``python -m plasticity_bench``."""
    print("next:")
    for line in arguments:
        print(f"  python -m plasticity_bench {line}")
