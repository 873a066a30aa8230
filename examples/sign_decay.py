"""A method in one file: `python -m plasticity_bench run --method examples/sign_decay.py:SignDecay`.

Sign decay adds the L1 penalty strength * sum |theta| to the loss. The gradient of the penalty is the sign
of every parameter. The operation is elementwise, so it works for one network and for a stack of seeds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from plasticity_bench.agents.methods import Method, MethodInfo, Paper


@dataclass
class SignDecay(Method):
    """Adds strength * sign(theta) to the gradient of every weight and bias."""

    info: ClassVar[MethodInfo] = MethodInfo(
        name="sign-decay",
        summary="weight decay by a constant amount toward zero, the L1 penalty",
        papers=(
            Paper(
                "Tibshirani, Robert",
                "Regression Shrinkage and Selection via the Lasso",
                1996,
                "Journal of the Royal Statistical Society B 58",
                doi="10.1111/j.2517-6161.1996.tb02080.x",
            ),
        ),
        off="strength=0",
        search_space={"strength": (1e-5, 1e-4, 1e-3, 1e-2)},
    )
    strength: float = 1e-4  # coefficient of the sum of absolute values

    def before_update(self, layers: Sequence[Any], optimizer: Any) -> None:
        for layer in layers:
            for parameter in layer.parameters():
                parameter.grad.add_(parameter.sign(), alpha=self.strength)
