"""What a stream fixes about the learner: network, optimizer, PPO, and the tasks at which it is measured.

Plain values; torch is not imported.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, NamedTuple

from plasticity_bench.errors import InputError

#: Activations with several outputs per unit -> the number of outputs.
WIDENING = {"crelu": 2, "fourier": 2}

#: Fields of specs that are newer than the first records: they are recorded only if they are set.
YOUNGER = ("norm", "log_std", "fused", "dropout", "injected")

#: Diagnostics are taken at about this many evenly spaced tasks, or at every task if there are fewer.
MEASURED_TASKS = 50

#: The plasticity probe runs at one of so many measured tasks, and at the last.
MEASURED_TO_PROBED = 9


def is_measured(task: int, tasks: int) -> bool:
    """Whether diagnostics are taken at the end of ``task``, one of ``tasks``."""
    return task % -(-tasks // MEASURED_TASKS) == 0 or task == tasks - 1


def is_probed(task: int, tasks: int) -> bool:
    """Whether the plasticity probe runs at the end of ``task``: at every ninth measured task and the last."""
    return task % (MEASURED_TO_PROBED * -(-tasks // MEASURED_TASKS)) == 0 or task == tasks - 1


def late_tasks(tasks: int) -> range:
    """The late tasks of a stream with ``tasks`` tasks, on which it is scored.

    They are the last tenth, rounded down; at least 5 if the stream has 20 tasks or more, else at least 2.

    Example:
        >>> late_tasks(300), late_tasks(40), late_tasks(10)
        (range(270, 300), range(35, 40), range(8, 10))
    """
    return range(max(0, tasks - max(tasks // 10, 5 if tasks >= 20 else 2)), tasks)


def twin_tasks(tasks: int) -> tuple[int, ...]:
    """The tasks on which fresh twins are trained: every tenth task, and the late ones.

    Example:
        >>> twin_tasks(40)
        (0, 10, 20, 30, 35, 36, 37, 38, 39)
    """
    late = late_tasks(tasks)
    return (*range(0, late.start, 10), *late)


def _recorded(spec: Any) -> dict[str, Any]:
    """The spec as config.json holds it. Newer fields are left out if they have their default, so that older
    configurations are recorded as before."""
    defaults = {f.name: f.default for f in fields(spec)}
    plain = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(spec).items()}
    return {k: v for k, v in plain.items() if k not in YOUNGER or v != defaults[k]}


@dataclass(frozen=True)
class NetworkSpec:
    """A feed-forward network: convolutions (each followed by 2x2 max pooling), then linear layers."""

    inputs: tuple[int, ...]  # shape of one example: (features,) or (channels, height, width)
    outputs: int  # classes, or regression targets
    hidden: tuple[int, ...]  # widths of the hidden linear layers
    channels: tuple[int, ...] = ()  # output channels of the convolutions, before the linear layers
    kernel: int = 5  # side of every convolution kernel, no padding
    activation: str = "relu"  # after every layer but the last; a name in agents.forward.ACTIVATIONS
    # "torch": U(+-1/sqrt(fan_in)). With zero biases, "kaiming": U(+-sqrt(6/fan_in)) and "lecun":
    # U(+-sqrt(3/fan_in)).
    init: str = "torch"
    # Normalisation before every activation; "layer": over all units (and positions) of one example; "batch":
    # of every unit over the examples (and positions) of a batch, and by running statistics in predictions.
    norm: str = ""
    log_std: bool = False  # a Gaussian policy: besides its mean, every output has a log standard deviation
    dropout: float = 0.0  # probability that training drops a hidden unit (a channel), for one example
    injected: int = 0  # number of last layers that may get frozen branches (plasticity injection)

    @property
    def two_modes(self) -> bool:
        """Whether the network computes differently in training and in prediction."""
        return self.norm == "batch" or self.dropout > 0

    recorded = _recorded

    @classmethod
    def of_record(cls, recorded: Mapping[str, Any]) -> NetworkSpec:
        """The spec that was recorded; entries that are not fields are ignored."""
        values: dict[str, Any] = {}
        for name in {f.name for f in fields(cls)} & recorded.keys():
            value = recorded[name]
            values[name] = tuple(value) if isinstance(value, list) else value
        return cls(**values)


def check_acting(spec: NetworkSpec, method: str) -> None:
    """Raises InputError if PPO cannot train the network: the probability ratio compares the policy that acted
    with the one in training, so both must compute in the same way."""
    if spec.two_modes:
        raise InputError(
            f"{method} cannot train an agent that acts: dropout and batch normalisation give PPO another "
            "policy in training than the one that acted; choose a supervised stream, or layer-norm"
        )


class LayerShape(NamedTuple):
    """One layer of a network, as it follows from the NetworkSpec."""

    kind: str  # "linear" or "conv"
    weight: tuple[int, ...]  # (out, in) or (out, in, kh, kw)
    positions: int  # how often one example uses the weight
    hidden: bool  # followed by the activation
    vectors: int  # parameters of one number per unit: bias, the normalisation's gain and shift, log_std


def layer_shapes(spec: NetworkSpec) -> list[LayerShape]:
    """The layers in order. Raises InputError if the convolutions do not fit the input.

    Example:
        >>> [shape.weight for shape in layer_shapes(NetworkSpec((64,), 10, (100, 50)))]
        [(100, 64), (50, 100), (10, 50)]
    """
    shapes: list[LayerShape] = []
    size: Sequence[int] = spec.inputs
    wider, vectors = WIDENING.get(spec.activation, 1), 3 if spec.norm else 1
    for out in spec.channels:
        sides = [side - spec.kernel + 1 for side in size[1:]]
        weight = (out, size[0], spec.kernel, spec.kernel)
        shapes.append(LayerShape("conv", weight, math.prod(sides), True, vectors))
        size = (wider * out, *(side // 2 for side in sides))
        if min(size) < 1:
            raise InputError(
                f"{len(spec.channels)} convolutions of {spec.kernel}x{spec.kernel} do not fit {spec.inputs}"
            )
    width = math.prod(size)
    for out in spec.hidden:
        shapes.append(LayerShape("linear", (out, width), 1, True, vectors))
        width = wider * out
    return [*shapes, LayerShape("linear", (spec.outputs, width), 1, False, 2 if spec.log_std else 1)]


def parameter_count(spec: NetworkSpec) -> int:
    """Number of trained parameters: weights, biases, the normalisation's gain and shift, log_std."""
    return sum(math.prod(shape.weight) + shape.vectors * shape.weight[0] for shape in layer_shapes(spec))


@dataclass(frozen=True)
class OptimizerSpec:
    """The reference optimizer of a stream, which all methods share."""

    name: str = "adam"  # "adam" or "sgd"
    lr: float = 1e-3  # step size
    betas: tuple[float, float] = (0.9, 0.999)  # Adam's decay rates
    eps: float = 1e-8  # Adam's denominator offset
    momentum: float = 0.0  # SGD's momentum
    fused: bool = True  # one pass over the parameters; False: torch's default, which rounds differently

    recorded = _recorded


@dataclass(frozen=True)
class PPOSpec:
    """Settings of PPO (Schulman et al. 2017, arXiv:1707.06347), as in stable-baselines3."""

    environments: int = 1  # of each seed, stepped together
    rollout: int = 2048  # steps of each environment between two updates
    epochs: int = 10  # passes over a rollout
    batch: int = 128  # examples per gradient step; divides rollout * environments
    clip: float = 0.2  # of the probability ratio
    gamma: float = 0.99  # discount
    gae_lambda: float = 0.95  # of generalised advantage estimation (arXiv:1506.02438)
    entropy: float = 0.0  # coefficient of the entropy bonus
    value: float = 0.5  # coefficient of the value loss
    max_grad_norm: float = 0.5  # gradients of both networks together are scaled down to this norm
    normalize_advantage: bool = True  # in every minibatch
    normalize_observations: bool = False  # running mean and deviation, clipped to +-10
    normalize_rewards: bool = False  # running deviation of the discounted return, clipped to +-10

    recorded = _recorded
