"""Other networks: normalisation, dropout, and activations that make two numbers of one unit's.

These methods change the stream's network and nothing else. Every hidden layer is changed, the linear output
layer never. Weights and biases start from the stream's initial distribution (of the narrower layers, for the
doubling activations: other shapes, so other draws than ``none``'s). Decay, offsets and noise of other
methods act on weights and biases (``Layer.parameters``), not on a normalisation's gain and shift.
Diagnostics see the activations: a doubled unit counts as two.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from plasticity_bench.agents.methods.base import Method, MethodInfo
from plasticity_bench.agents.methods.papers import Paper
from plasticity_bench.ranges import BELOW_ONE

if TYPE_CHECKING:
    from plasticity_bench.specs import NetworkSpec


@dataclass
class LayerNorm(Method):
    """Normalises the pre-activations of every hidden layer: relu(gain * (z - mean) / std + shift).

    Mean and standard deviation (biased, plus 1e-5 under the root) are taken over the units of one example, in
    a convolution over channels and positions, with one gain and shift per unit or channel, from 1 and 0 (as
    Haiku's LayerNorm over axes 1 to 3 of channels-last images, or torch's GroupNorm with one group; torch's
    LayerNorm has a gain for every position too).

    Before the non-linearity, as the project's notes have it and as two public ports place it
    (RLE-Foundation/Plasticine for Atari, which has a gain for every position); the paper's own code
    and its treatment of convolutions were not seen.
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        name="layer-norm",
        summary="layer normalisation before every non-linearity",
        papers=(
            Paper(
                "Lyle, Clare and Zheng, Zeyu and Khetarpal, Khimya and van Hasselt, Hado and "
                "Pascanu, Razvan and Martens, James and Dabney, Will",
                "Disentangling the Causes of Plasticity Loss in Neural Networks",
                2024,
                arxiv="2402.18762",
            ),
            Paper(
                "Ba, Jimmy Lei and Kiros, Jamie Ryan and Hinton, Geoffrey E.",
                "Layer Normalization",
                2016,
                arxiv="1607.06450",
            ),
        ),
        family="architecture",
    )

    def network(self, spec: NetworkSpec) -> NetworkSpec:
        return replace(unnormalised(spec, "layer"), norm="layer")


@dataclass
class BatchNorm(Method):
    """Normalises every unit's pre-activations over the examples of a batch: relu(gain * (z - mean) / std +
    shift) before every non-linearity (Ioffe & Szegedy, Algorithm 1), a channel's over positions too, with one
    gain and shift per unit or channel, from 1 and 0.

    Training takes the batch's mean and standard deviation (biased, plus 1e-5 under the root), every seed its
    own, and moves running ones a tenth of the way (torch's momentum 0.1 and unbiased variance; the paper's
    Algorithm 2 averages over batches after training). Predictions, and with them online and final performance
    and all diagnostics, take the running ones. A task switch does not touch them: the first predictions of a
    task are made with the last task's statistics, of which a fifth is left after 15 batches. They are
    reset together with the layer or unit that a method resets. The bias is taken out again by the mean, so
    its gradient is 0, not what rounding leaves of it. Not for agents that act: PPO would compare two
    policies.
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        name="batch-norm",
        summary="batch normalisation before every non-linearity",
        papers=(
            Paper(
                "Ioffe, Sergey and Szegedy, Christian",
                "Batch Normalization: Accelerating Deep Network Training by Reducing Internal "
                "Covariate Shift",
                2015,
                "ICML",
                arxiv="1502.03167",
            ),
        ),
        family="architecture",
    )

    def network(self, spec: NetworkSpec) -> NetworkSpec:
        return replace(unnormalised(spec, "batch"), norm="batch")


@dataclass
class Dropout(Method):
    """In training every hidden unit is dropped with probability p for each example by itself, after the
    non-linearity; what stays is multiplied by 1/(1 - p), so that predictions use the weights as they are
    (Srivastava et al. multiply the weights by the probability of staying instead: the same in expectation).

    In a convolution whole channels of an example are dropped (Tompson et al. 2015, arXiv:1411.4280), as
    neighbouring positions hold nearly the same. Inputs are never dropped. Online and final performance and
    all diagnostics are of the whole network; units' activations, for methods that score them, are taken
    before dropping. Srivastava et al. drop half of the hidden units, of far larger networks that see every
    example many times (from memory); for one pass over the data the default is 0.1. Not for agents that act:
    PPO would compare two policies.
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        name="dropout",
        off="p=0",
        summary="hidden units are dropped at random in training",
        papers=(
            Paper(
                "Srivastava, Nitish and Hinton, Geoffrey and Krizhevsky, Alex and "
                "Sutskever, Ilya and Salakhutdinov, Ruslan",
                "Dropout: A Simple Way to Prevent Neural Networks from Overfitting",
                2014,
                "JMLR 15",
            ),
            Paper(
                "Hinton, Geoffrey E. and Srivastava, Nitish and Krizhevsky, Alex and "
                "Sutskever, Ilya and Salakhutdinov, Ruslan R.",
                "Improving neural networks by preventing co-adaptation of feature detectors",
                2012,
                arxiv="1207.0580",
            ),
        ),
        family="decay and regularisation",
        search_space={"p": (0.01, 0.05, 0.1, 0.2, 0.5)},
        ranges={"p": BELOW_ONE},
    )
    p: float = 0.1  # probability that a unit is dropped

    def network(self, spec: NetworkSpec) -> NetworkSpec:
        return replace(spec, dropout=self.p)


@dataclass
class CRelu(Method):
    """Every hidden layer gives [relu(z), relu(-z)] (Shang et al. 2016, Eq. 2 from memory).

    All hidden widths are scaled by one factor k / (widest layer), rounded to the nearest number and at least
    1; k is the whole number whose parameter count is nearest to the stream's network's, the smaller of two.
    A 64-100-100-10 network becomes 64-75-75-10: 17,710 parameters for 17,610. Abbas et al. changed the
    activation of every hidden layer of Rainbow's network; how they matched sizes was not seen, public ports
    either halve the widths or leave them.
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        name="crelu",
        summary="concatenated ReLU, [relu(z), relu(-z)], in a narrower network of as many parameters",
        papers=(
            Paper(
                "Abbas, Zaheer and Zhao, Rosie and Modayil, Joseph and White, Adam and Machado, Marlos C.",
                "Loss of Plasticity in Continual Deep Reinforcement Learning",
                2023,
                "CoLLAs",
                arxiv="2303.07507",
            ),
            Paper(
                "Shang, Wenling and Sohn, Kihyuk and Almeida, Diogo and Lee, Honglak",
                "Understanding and Improving Convolutional Neural Networks via Concatenated "
                "Rectified Linear Units",
                2016,
                "ICML",
                arxiv="1603.05201",
            ),
        ),
        family="architecture",
    )

    def network(self, spec: NetworkSpec) -> NetworkSpec:
        from plasticity_bench.specs import parameter_count

        doubled = _doubled(spec, "crelu")
        widest, wanted = max((*spec.channels, *spec.hidden), default=1), parameter_count(spec)
        candidates = [_scaled(doubled, k, widest) for k in range(1, widest + 1)]
        return min(candidates, key=lambda candidate: abs(parameter_count(candidate) - wanted))


@dataclass
class DeepFourier(Method):
    """Every hidden layer gives [sin(z), cos(z)] of half as many units (rounded up), so that its output is as
    wide as the stream's and the network has about half of its parameters.

    The map, its use in every layer, and the halved width are the paper's as others report it (abstract, and
    ports without code of the authors'); the output layer is taken to be linear, and the initial weights are
    the stream's: neither was verified. The abstract's claim that the network should be "composed entirely of"
    such features is why there is no variant that changes the first layer only. The paper combines them with
    regularisation: ``deep-fourier+l2``.
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        name="deep-fourier",
        summary="deep Fourier features, [sin(z), cos(z)] of half as many units, in every hidden layer",
        papers=(
            Paper(
                "Lewandowski, Alex and Schuurmans, Dale and Machado, Marlos C.",
                "Plastic Learning with Deep Fourier Features",
                2025,
                "ICLR",
                arxiv="2410.20634",
            ),
        ),
        family="architecture",
    )

    def network(self, spec: NetworkSpec) -> NetworkSpec:
        halved = _doubled(spec, "fourier")
        return replace(
            halved,
            hidden=tuple((width + 1) // 2 for width in spec.hidden),
            channels=tuple((width + 1) // 2 for width in spec.channels),
        )


def unnormalised(spec: NetworkSpec, norm: str) -> NetworkSpec:
    """Raises InputError if another normalisation was chosen already (``layer-norm+batch-norm``)."""
    from plasticity_bench.errors import InputError

    if spec.norm not in ("", norm):
        raise InputError(f"one network cannot have two normalisations: {spec.norm}, {norm}")
    return spec


def _doubled(spec: NetworkSpec, activation: str) -> NetworkSpec:
    """Raises InputError if the activation was replaced already (``crelu+deep-fourier``)."""
    from plasticity_bench.errors import InputError
    from plasticity_bench.specs import WIDENING

    if spec.activation in WIDENING:
        raise InputError(f"one network cannot have two activations: {spec.activation}, {activation}")
    return replace(spec, activation=activation)


def _scaled(spec: NetworkSpec, k: int, of: int) -> NetworkSpec:
    def scale(widths: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(max(1, (2 * width * k + of) // (2 * of)) for width in widths)

    return replace(spec, hidden=scale(spec.hidden), channels=scale(spec.channels))
