"""Diagnostics of a stack of networks on a probe batch: dormancy, ranks, norms.

Every function takes features ``(S, N, units)`` (examples and positions in dimension 1) or flat tensors and
returns float64 values of shape ``(S,)``. Non-finite features give nan, never an exception.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch

from plasticity_bench.agents.layers import Layer
from plasticity_bench.agents.methods.units import dormancy_scores

#: ReDo's threshold for a dormant unit in its default setting (arXiv:2302.12902).
TAU = 0.025

#: Two units of a layer whose activations correlate above this are clones.
CLONES = 0.99
#: A unit whose variance is a smaller share of its mean square is constant: such a variance is rounding noise.
CONSTANT = 1e-10


def unit_features(layer: Layer) -> torch.Tensor:
    """A hidden layer's activations as ``(S, N, units)``; a convolution's positions count as examples."""
    features = layer.features
    if features is None:
        raise ValueError(f"{layer.name} holds no features: call forward first")
    if layer.kind == "conv":
        features = features.movedim(2, -1).flatten(1, -2)
    return features.detach()


def gram(features: torch.Tensor) -> torch.Tensor:
    """float64 products ``(S, n, n)`` of the features' columns or rows, whichever are fewer."""
    features = features.double()
    count, units = features.shape[1:]
    return features.mT @ features if units <= count else features @ features.mT


def centred_gram(products: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
    """``gram`` of the features minus their mean over examples, from their ``gram``."""
    count, units = features.shape[1:]
    if units <= count:
        mean = features.mean(1, dtype=torch.float64)
        return products - count * mean.unsqueeze(2) * mean.unsqueeze(1)
    rows = products.mean(1, keepdim=True)
    return products - rows - rows.mT + rows.mean(2, keepdim=True)


def singular_values(products: torch.Tensor) -> torch.Tensor:
    """Singular values ``(S, n)`` in descending order from a ``gram``, nan if it is not finite.

    The Gram matrix's eigenvalues are their squares: values below about 1e-8 of the largest are rounding
    noise and count as 0.
    """
    finite = products.isfinite().flatten(1).all(1)
    squares = torch.linalg.eigvalsh(torch.where(finite.view(-1, 1, 1), products, 0.0)).flip(-1).clamp_min(0)
    squares = torch.where(squares > 1e-15 * squares[..., :1], squares, 0.0)
    return torch.where(finite.view(-1, 1), squares.sqrt(), torch.nan)


def effective_rank(values: torch.Tensor) -> torch.Tensor:
    """exp(entropy) of the normalised singular values (Roy & Vetterli 2007). 0 if all are 0."""
    total = values.sum(-1, keepdim=True)
    p = values / total.clamp_min(torch.finfo(values.dtype).tiny)
    entropy = -torch.special.xlogy(p, p).sum(-1)
    return torch.where(total.squeeze(-1) == 0, 0.0, entropy.exp())


def share_rank(values: torch.Tensor, share: float = 0.99) -> torch.Tensor:
    """Least k such that the first k values hold ``share`` of the sum. Of singular values: srank
    (Kumar et al. 2021, arXiv:2010.14498). Of a covariance's eigenvalues: its rank at that variance."""
    cumulated = values.cumsum(-1)
    total = cumulated[..., -1:]
    rank = (cumulated < share * total).sum(-1).double() + 1
    rank = torch.where(total.squeeze(-1) == 0, 0.0, rank)
    return torch.where(total.squeeze(-1).isnan(), torch.nan, rank)


def stable_rank(values: torch.Tensor) -> torch.Tensor:
    """Squared Frobenius norm over squared spectral norm. 0 if all singular values are 0."""
    squares = values.square()
    largest = squares[..., 0]
    return torch.where(largest == 0, 0.0, squares.sum(-1) / largest)


def layer_diagnostics(layers: Sequence[Layer]) -> dict[str, torch.Tensor]:
    """Column -> values ``(S,)``: unit fractions over all hidden units, ranks as means over hidden layers."""
    features = [unit_features(layer) for layer in layers if layer.hidden]
    activities = [f.abs().mean(1, dtype=torch.float64) for f in features]
    scores = torch.cat([dormancy_scores(activity) for activity in activities], -1)
    # Zero on every example of the probe (Dohare et al. 2024).
    dead = torch.cat(activities, -1) == 0
    finite = scores.isfinite().all(-1)
    products = [gram(f) for f in features]
    spectra = [singular_values(p) for p in products]
    centred = [centred_gram(p, f) for p, f in zip(products, features, strict=True)]
    variances = [singular_values(c).square() for c in centred]
    cloned = torch.cat([cloned_units(*layer) for layer in zip(products, centred, features, strict=True)], -1)
    columns = {
        "dormant_fraction": (scores <= TAU).double().mean(-1),
        "dormant_fraction_tau0": (scores <= 0).double().mean(-1),
        "dead_fraction": dead.double().mean(-1),
        "effective_rank": torch.stack([effective_rank(v) for v in spectra]).mean(0),
        "srank": torch.stack([share_rank(v) for v in spectra]).mean(0),
        "stable_rank": torch.stack([stable_rank(v) for v in spectra]).mean(0),
        "covariance_rank": torch.stack([share_rank(v) for v in variances]).mean(0),
        "cloned_fraction": cloned.double().mean(-1),
    }
    return {name: torch.where(finite, value, torch.nan) for name, value in columns.items()}


def cloned_units(products: torch.Tensor, centred: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
    """Whether another unit of the layer has activations that correlate above ``CLONES``: ``(S, units)``.

    Args:
        products: ``gram`` of the features.
        centred: ``centred_gram`` of the features.
        features: ``(S, N, units)``.
    """
    squares = features.double().square().sum(1)
    if products.shape[1] != features.shape[2]:  # products of examples
        shifted = features - features.mean(1, keepdim=True, dtype=torch.float64)
        centred = shifted.mT @ shifted
    variances = centred.diagonal(dim1=1, dim2=2)
    varying = variances > CONSTANT * squares
    scales = torch.where(varying, variances, torch.inf).rsqrt()
    correlations = centred * scales.unsqueeze(1) * scales.unsqueeze(2)
    correlations.diagonal(dim1=1, dim2=2).zero_()
    return (correlations > CLONES).any(2)


def sum_per_seed(values: torch.Tensor) -> torch.Tensor:
    """float64 sums ``(S,)`` of ``(S, ...)``.

    On a CPU each seed is summed in memory of its own: the order in which torch adds depends on shape and
    alignment, and a seed's last digit must not depend on the number of seeds. On other devices it depends on
    it anyway, and a call for each seed would take longer than its sum.
    """
    if values.device.type != "cpu":
        return values.flatten(1).sum(1, dtype=torch.float64)
    return torch.stack([row.clone().flatten().sum(dtype=torch.float64) for row in values.unbind(0)])


def norm(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
    """L2 norm over all tensors, one per seed: ``(S,)`` from tensors with a leading dimension S."""
    squares = [sum_per_seed(t.detach().double().square()) for t in tensors]
    # One after the other: the order of a reduction over tensors would depend on the number of seeds.
    return functools.reduce(torch.add, squares).sqrt()
