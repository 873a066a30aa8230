"""The names of methods, streams and suites. The modules that define them are not imported."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import entry_points
from types import MappingProxyType

from plasticity_bench.errors import InputError, did_you_mean

_METHODS = "plasticity_bench.agents.methods"
_TASKS = "plasticity_bench.tasks"

METHODS: Mapping[str, str] = MappingProxyType(
    {
        "none": f"{_METHODS}.none:NoMethod",
        "reset": f"{_METHODS}.none:Reset",
        "l2": f"{_METHODS}.decay:L2",
        "l2-init": f"{_METHODS}.decay:L2Init",
        "shrink-perturb": f"{_METHODS}.shrink_perturb:ShrinkPerturb",
        "layer-norm": f"{_METHODS}.architecture:LayerNorm",
        "batch-norm": f"{_METHODS}.architecture:BatchNorm",
        "dropout": f"{_METHODS}.architecture:Dropout",
        "normalize-and-project": f"{_METHODS}.normalize_project:NormalizeProject",
        "hare-tortoise": f"{_METHODS}.hare_tortoise:HareTortoise",
        "plasticity-injection": f"{_METHODS}.plasticity_injection:PlasticityInjection",
        "crelu": f"{_METHODS}.architecture:CRelu",
        "deep-fourier": f"{_METHODS}.architecture:DeepFourier",
        "cbp": f"{_METHODS}.cbp:ContinualBackprop",
        "redo": f"{_METHODS}.redo:ReDo",
        "regrama": f"{_METHODS}.regrama:ReGraMa",
        "snr": f"{_METHODS}.snr:SelfNormalizedResets",
        "weight-clipping": f"{_METHODS}.weight_clipping:WeightClipping",
        "wasserstein-init": f"{_METHODS}.wasserstein_init:WassersteinInit",
        "spectral": f"{_METHODS}.spectral:Spectral",
        "parseval": f"{_METHODS}.parseval:Parseval",
        "head-reset": f"{_METHODS}.layer_reset:HeadReset",
        "layer-reset": f"{_METHODS}.layer_reset:LayerReset",
        "dash": f"{_METHODS}.dash:Dash",
        "fire": f"{_METHODS}.fire:Fire",
        "adamo": f"{_METHODS}.adamo:AdamO",
        "swr": f"{_METHODS}.swr:SelectiveWeightReinit",
        "l2-er": f"{_METHODS}.l2_er:L2EffectiveRank",
        "upgd": f"{_METHODS}.upgd:Upgd",
        "trac": f"{_METHODS}.trac:Trac",
        "syre": f"{_METHODS}.syre:Syre",
        "syre-offset-only": f"{_METHODS}.syre:SyreOffsetOnly",
        "syre-redrawn": f"{_METHODS}.syre:SyreRedrawn",
    }
)

STREAMS: Mapping[str, str] = MappingProxyType(
    {
        "permuted-digits": f"{_TASKS}.digits:PermutedDigits",
        "bit-flip": f"{_TASKS}.bit_flip:BitFlip",
        "permuted-mnist": f"{_TASKS}.mnist:PermutedMnist",
        "permuted-mnist-long": f"{_TASKS}.mnist:PermutedMnistLong",
        "online-permuted-mnist": f"{_TASKS}.mnist:OnlinePermutedMnist",
        "random-label-mnist": f"{_TASKS}.mnist:RandomLabelMnist",
        "shuffled-gridworld": f"{_TASKS}.gridworld:ShuffledGridworld",
        "slippery-ant": f"{_TASKS}.ant:SlipperyAntFull",
        "slippery-ant-short": f"{_TASKS}.ant:SlipperyAntShort",
        "ant": f"{_TASKS}.ant:StationaryAnt",
    }
)


#: Group of entry points under which installed packages offer methods: name = "module:Class".
ENTRY_POINTS = "plasticity_bench.methods"


def method_names() -> dict[str, str]:
    """Name -> "module:Class" of all built-in methods and installed plug-ins. They are not imported."""
    names = dict(METHODS)
    for name, value in _installed(tuple(sys.path)):
        if name in names:
            warnings.warn(f'plug-in method "{name}" ({value}) ignored: the name is taken', stacklevel=2)
        else:
            names[name] = value
    return names


@lru_cache(maxsize=1)
def _installed(path: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Name and "module:Class" of the methods that packages on ``path`` (sys.path) offer.

    The result is cached, as finding them takes milliseconds.
    """
    return tuple((point.name, point.value) for point in entry_points(group=ENTRY_POINTS))


@dataclass(frozen=True)
class Suite:
    """A named set of streams, each with its settings."""

    summary: str
    streams: tuple[str, ...]


SUITES: Mapping[str, Suite] = MappingProxyType(
    {
        "quick": Suite("embedded data, about a minute on 4 CPU cores", ("permuted-digits", "bit-flip")),
        "standard": Suite(
            "MNIST at sizes that a laptop finishes overnight",
            ("permuted-digits", "bit-flip", "permuted-mnist", "permuted-mnist-long", "random-label-mnist"),
        ),
        "control": Suite(
            "reinforcement learning at sizes that a laptop finishes overnight",
            ("shuffled-gridworld", "slippery-ant-short"),
        ),
        "full": Suite(
            "the sizes of the source papers; needs a GPU",
            (
                "permuted-mnist",
                "permuted-mnist:architecture=mlp",
                "permuted-mnist-long:tasks=500",
                "online-permuted-mnist:tasks=800,width=2000,batch_size=1",
                "random-label-mnist:epochs=400",
                "slippery-ant",
            ),
        ),
    }
)


def suite_streams(name: str) -> tuple[str, ...]:
    """The streams of a suite, for ``choose_stream``. Raises InputError if there is no such suite."""
    if name not in SUITES:
        raise InputError(f'unknown suite "{name}": {did_you_mean(name, SUITES)}')
    return SUITES[name].streams
