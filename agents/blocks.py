"""Parameters in a few large pieces, for methods that treat every number in the same way.

On small networks a torch call takes as long as its arithmetic. The parameters of a stack lie one after the
other in one flat vector, so neighbouring ones can be treated as one tensor: ``blocks`` returns these tensors,
and ``Aligned`` keeps other numbers in the same places. If parameters do not lie in one vector (in other
libraries' networks), a block is a parameter. This module does not import torch, so that methods can import it
at their top: an import within a hook takes longer than the hook's arithmetic.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Tensor, dtype

    from plasticity_bench.agents.layers import Layer

#: Weights and biases, or all that the optimizer moves: the methods of ``Layer`` that list them.
Choice = Literal["parameters", "trainable"]


class FlatLayers(list["Layer"]):
    """The layers of a network whose parameters view ``flat`` and whose gradients view ``gradient``.

    Between two parameters there may be numbers that belong to none of them and start as zeros; a block
    contains those that follow its parameters.
    """

    def __init__(self, layers: Sequence[Layer], flat: Tensor, gradient: Tensor) -> None:
        super().__init__(layers)
        self.parameter_blocks = self._cut("parameters", flat, gradient)
        self.trainable_blocks = self._cut("trainable", flat, gradient)

    def _cut(self, choice: Choice, flat: Tensor, gradient: Tensor) -> list[Tensor]:
        first = int(flat.storage_offset())  # not 0 if networks share memory
        starts = [int(p.storage_offset()) - first for p in listed(self, "trainable")]
        stop_of = dict(zip(starts, [*starts[1:], flat.numel()], strict=True))
        spans: list[tuple[int, int]] = []
        for start in (int(p.storage_offset()) - first for p in listed(self, choice)):
            adjoins = bool(spans) and spans[-1][1] == start
            spans.append((spans.pop()[0] if adjoins else start, stop_of[start]))
        found = [flat[start:stop] for start, stop in spans]
        for block, (start, stop) in zip(found, spans, strict=True):
            block.grad = gradient[start:stop]
        return found


def listed(layers: Sequence[Layer], choice: Choice = "parameters") -> list[Tensor]:
    """The chosen parameters of all layers, one by one."""
    return [parameter for layer in layers for parameter in getattr(layer, choice)()]


def blocks(layers: Sequence[Layer], choice: Choice = "parameters") -> Sequence[Tensor]:
    """The chosen parameters in as few tensors as possible, with their gradients in ``grad``.

    Args:
        layers: As a hook is given them.
        choice: "parameters": weights and biases; "trainable": all that the optimizer moves.

    Returns:
        Tensors, to be changed in place. Do not reduce over them: they join layers and seeds.

    Example:
        >>> import torch
        >>> from plasticity_bench.agents.networks import StackedNetwork
        >>> from plasticity_bench.agents.rng import SeedRng
        >>> from plasticity_bench.specs import NetworkSpec
        >>> spec = NetworkSpec((6,), 4, (8, 5))
        >>> network = StackedNetwork(spec, SeedRng([0], "init"), torch.device("cpu"), torch.float32)
        >>> len(blocks(network.layers)), len(listed(network.layers))
        (1, 6)
    """
    if isinstance(layers, FlatLayers):
        return layers.parameter_blocks if choice == "parameters" else layers.trainable_blocks
    return listed(layers, choice)


class Aligned(list["Tensor"]):
    """A tensor of zeros for each of the chosen parameters, of its shape.

    ``self.blocks`` holds the same numbers in tensors of the shapes of ``blocks(layers, choice)``.

    Args:
        layers: As ``setup`` is given them.
        choice: As in ``blocks``.
        kind: Number type; None: that of the parameters.
    """

    def __init__(
        self, layers: Sequence[Layer], choice: Choice = "parameters", kind: dtype | None = None
    ) -> None:
        own = blocks(layers, choice)
        self.blocks = [block.new_zeros(block.shape, dtype=kind) for block in own]
        if not isinstance(layers, FlatLayers):
            super().__init__(self.blocks)
            return
        places = [(b.storage_offset(), b.storage_offset() + b.numel()) for b in own]
        for parameter in listed(layers, choice):
            at = parameter.storage_offset()
            i = next(i for i, (start, stop) in enumerate(places) if start <= at < stop)
            at -= places[i][0]
            self.append(self.blocks[i][at : at + parameter.numel()].view(parameter.shape))

    @classmethod
    def copied(cls, layers: Sequence[Layer], choice: Choice = "parameters") -> Aligned:
        """An Aligned with the parameters' current values."""
        made = cls(layers, choice)
        for block, own in zip(made.blocks, blocks(layers, choice), strict=True):
            block.copy_(own.detach())
        return made

    def state_dict(self) -> list[Tensor]:
        """The tensors, one per parameter."""
        return list(self)

    def load_state_dict(self, state: Sequence[Tensor]) -> None:
        """Copies ``state`` in; views taken before stay valid."""
        for tensor, saved in zip(self, state, strict=True):
            tensor.copy_(saved)


class Scratch(Aligned):
    """An Aligned for numbers that are used within one update only: not part of a method's state."""

    def state_dict(self) -> list[Tensor]:
        """Nothing."""
        return []

    def load_state_dict(self, state: Sequence[Tensor]) -> None:
        """Nothing was kept."""
