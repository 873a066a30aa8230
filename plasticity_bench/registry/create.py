"""Methods and streams by name: listing them, and making one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plasticity_bench.errors import InputError, did_you_mean
from plasticity_bench.registry.catalog import STREAMS, method_names
from plasticity_bench.registry.choices import choose_method, choose_stream
from plasticity_bench.registry.families import FAMILIES, family_of

if TYPE_CHECKING:
    from plasticity_bench.agents.methods import Method
    from plasticity_bench.tasks.base import Stream


def list_methods(family: str | None = None) -> list[str]:
    """Names of all methods: the built-in ones, then those of installed packages.

    Args:
        family: only methods of this kind, a key of ``FAMILIES`` (plasticity_bench/registry/families.py).
            Methods of installed packages are not imported for a list: they are in the family "other".

    Returns:
        The names, as ``create_method`` takes them.

    Raises:
        InputError: there is no such family.

    Example:
        >>> list_methods("references")
        ['none', 'reset']
    """
    names = list(method_names())
    if family is None:
        return names
    if family not in FAMILIES:
        raise InputError(f'unknown family "{family}": {did_you_mean(family, FAMILIES)}')
    return [name for name in names if family_of(name) == family]


def create_method(text: str) -> Method:
    """A method, ready to be given to a learner.

    Args:
        text: its name and settings, as the command line reads them: ``"l2"``, ``"syre:strength=1e-2"``,
            ``"layer-norm+l2"``, ``"path/to/file.py:Class"``. A learning rate (``lr``) is no part of a method:
            use ``choose_method`` and ``with_learning_rate`` (plasticity_bench/registry/learning_rate.py).

    Returns:
        The method, a dataclass whose fields are its hyperparameters.

    Raises:
        InputError: there is no such method or setting, or a value is not of the setting's kind.

    Example:
        >>> create_method("l2:strength=1e-2")
        L2(strength=0.01, decoupled=False)
    """
    return choose_method(text).make()


def list_streams() -> list[str]:
    """Names of the built-in streams.

    Returns:
        The names, as ``create_stream`` takes them. It takes Avalanche's benchmarks too.

    Example:
        >>> list_streams()[:2]
        ['permuted-digits', 'bit-flip']
    """
    return list(STREAMS)


def create_stream(text: str) -> Stream:
    """A stream of tasks. Its data are read when it is opened, not here.

    Args:
        text: its name and settings, as the command line reads them: ``"permuted-digits:tasks=20"``,
            ``"avalanche:SplitMNIST"``.

    Returns:
        The stream, a frozen dataclass whose fields are its settings.

    Raises:
        InputError: there is no such stream or setting, a value is not of the setting's kind, or the stream
            has fewer than 2 tasks.

    Example:
        >>> stream = create_stream("permuted-digits:tasks=20")
        >>> stream.tasks, stream.steps, stream.batch
        (20, 112, 16)
    """
    return choose_stream(text).make()
