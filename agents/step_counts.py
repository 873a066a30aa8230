"""Step counts per element for Adam: an element that is reset gets the first updates of a new optimizer.

torch's Adam has one step count per parameter; its moments start at 0, and it divides them by 1 - beta^step.
If some elements of a moment are cleared later, that division no longer makes up for their start at 0: their
first updates are too large. With a count c of its own, an element's corrected moment is a mean of all values
since its reset, and the next value x enters with weight w = (1 - beta) / (1 - beta^c):

    mean <- (1 - w) * mean + w * x

It is computed ahead of the optimizer's update, which is ``mean <- beta * mean + (1 - beta) * x`` for all
elements: ``mean <- mean + d * (x - mean)`` with d = (w - 1 + beta) / beta beforehand gives the same. d is 1
at an element's first update and tends to 0, as an optimizer that has run for very long corrects nothing. The
optimizer must correct nothing itself: it is given the step count ``ENDLESS``.

What is kept per element is 1 / d of its last update: 0 for a new element, then n <- 1 + n / beta.
No operation makes the host wait for the device.
"""

from __future__ import annotations

import math

import torch

#: A step count at which Adam's own bias correction is 1. Adding 1 does not change it in float32.
ENDLESS = 1e9


@torch.no_grad()
def start_counts(mean: torch.Tensor, step: torch.Tensor, beta: float) -> torch.Tensor:
    """Counts for the elements of a moment that have all made ``step`` updates; corrects the moment in place.

    Args:
        mean: The moment, not corrected. It is corrected from now on.
        step: The number of updates so far, without dimensions.
        beta: The moment's decay, above 0 and below 1.

    Returns:
        The elements' counts, of the moment's shape: zero an element (and its moment) to reset it.
    """
    step = step.to(mean.device, torch.float64)
    missing = torch.expm1(step * math.log(beta)).neg_()
    mean.div_(missing.masked_fill_(step == 0, 1).to(mean.dtype))
    grown = torch.expm1(step * -math.log(beta)).mul_(beta / (1 - beta))
    return torch.zeros_like(mean).add_(grown.to(mean.dtype))


def count_update(
    mean: torch.Tensor,
    value: torch.Tensor,
    counts: torch.Tensor,
    beta: float,
    one: torch.Tensor,
    scratch: torch.Tensor,
) -> None:
    """To be called before the optimizer's update of a moment, without gradient tracking: see above.

    Args:
        mean: The corrected moment, changed in place.
        value: What the update will take into the moment: the gradient, or its square.
        counts: The elements' counts, which grow.
        beta: The moment's decay.
        one: The number 1, without dimensions: one operation instead of two.
        scratch: Memory of the same shape, overwritten.
    """
    torch.add(one, counts, alpha=1 / beta, out=counts)
    mean.lerp_(value, torch.reciprocal(counts, out=scratch))
