"""Tools in which runs can be shown: one module per tool, imported only if the tool is selected."""

from __future__ import annotations

from collections.abc import Mapping

#: Name -> "module:Class" of a ``base.Sink``, whose constructor takes the folder to write into.
SINKS: Mapping[str, str] = {
    "tensorboard": "plasticity_bench.tracking.sinks.tensorboard:TensorBoard",
    "wandb": "plasticity_bench.tracking.sinks.wandb:WeightsAndBiases",
}
