"""plasticity_bench: the benchmark for loss of plasticity.

    import plasticity_bench as pb

    results = pb.run("syre", stream="permuted-digits", seeds=4)
    results.scores()
    results.plot()

Each name is imported when it is first used, so that ``import plasticity_bench`` takes milliseconds and does
not import torch. The command line is ``python -m plasticity_bench``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from plasticity_bench.agents.adapters.torch_adapter import attach
    from plasticity_bench.agents.methods import Method, MethodInfo, Paper
    from plasticity_bench.api.catalog import methods, streams
    from plasticity_bench.api.checking import CheckReport, check
    from plasticity_bench.api.results import Results, load
    from plasticity_bench.api.training import run
    from plasticity_bench.errors import InputError, RunFailed

__version__ = "0.1.0"

__all__ = [
    "CheckReport",
    "InputError",
    "Method",
    "MethodInfo",
    "Paper",
    "Results",
    "RunFailed",
    "attach",
    "check",
    "load",
    "methods",
    "run",
    "streams",
]

#: Public name -> the module that defines it.
_DEFINED_IN = {
    "attach": "agents.adapters.torch_adapter",
    **dict.fromkeys(("Method", "MethodInfo", "Paper"), "agents.methods"),
    **dict.fromkeys(("methods", "streams"), "api.catalog"),
    **dict.fromkeys(("CheckReport", "check"), "api.checking"),
    **dict.fromkeys(("Results", "load"), "api.results"),
    "run": "api.training",
    **dict.fromkeys(("InputError", "RunFailed"), "errors"),
}


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first used (PEP 562)."""
    if name not in _DEFINED_IN:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_DEFINED_IN[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
