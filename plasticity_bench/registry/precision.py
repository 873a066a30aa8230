"""The number type of matrix products and convolutions: a setting that every supervised stream takes.

Weights, gradients, the optimizer's state and everything else are always float32.

``float32``: products are float32 too, even if a GPU's library would use TF32 for convolutions by default.
``tf32``: factors are rounded to 10 bits of mantissa, and sums are float32; on NVIDIA GPUs since Ampere.
``bf16``: factors and results of the products that torch.autocast selects are bfloat16 (7 bits of mantissa);
the network's outputs and the loss's gradient are float32.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from plasticity_bench.errors import InputError, did_you_mean

if TYPE_CHECKING:
    import torch

#: The setting, and its default. The default is not recorded, so that older records stay valid.
PRECISION, DEFAULT = "precision", "float32"
PRECISIONS: Mapping[str, str] = MappingProxyType(
    {
        "float32": "products in float32",
        "tf32": "products of TF32 on NVIDIA GPUs",
        "bf16": "products in bfloat16, weights in float32",
    }
)


def check_precision(precision: str, label: str, acting: bool) -> str:
    """Returns ``precision``. Raises InputError if it does not exist, or if an agent acts and it is not the
    default. ``label``: of the stream, for the message."""
    if precision not in PRECISIONS:
        raise InputError(f'{label}: unknown precision "{precision}": {did_you_mean(precision, PRECISIONS)}')
    if acting and precision != DEFAULT:
        raise InputError(f"{label}: agents that act are trained in {DEFAULT} only")
    return precision


def with_precision(streams: Sequence[str], precision: str) -> list[str]:
    """The streams as ``choose_stream`` reads them, in this precision."""
    if precision == DEFAULT:
        return list(streams)
    return [f"{text}{',' if '=' in text else ':'}{PRECISION}={precision}" for text in streams]


def precision_of(settings: Mapping[str, Any]) -> str:
    """The precision in a stream's settings."""
    return str(settings.get(PRECISION, DEFAULT))


def check_devices(precision: str, devices: Sequence[str]) -> None:
    """Raises InputError if the devices do not have this precision."""
    if precision == "tf32" and not all(device.startswith("cuda") for device in devices):
        raise InputError("tf32 needs an NVIDIA GPU: use --device cuda, or --precision float32 or bf16")


def set_up_device(device: torch.device, precision: str) -> None:
    """Prepares this process for the device: results are bit-identical at every run, and products have this
    precision.

    Raises InputError if the device does not have this precision.
    """
    check_devices(precision, [device.type])
    if device.type != "cuda":
        return
    import torch

    # This must be set before cuBLAS is first used: with its default workspaces, a product may differ from run
    # to run. torch.use_deterministic_algorithms is not set: it would slow down operations that are
    # deterministic as they are used here (scatters of integers, or to different places). test_device_ready.py
    # searches for other operations.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
    if device.index is not None:
        torch.cuda.set_device(device)
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    torch.backends.cudnn.allow_tf32 = precision == "tf32"
