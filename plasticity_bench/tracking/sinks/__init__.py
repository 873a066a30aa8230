"""Where runs can be shown beside their records: one module per tool, none imported unless asked for."""

from __future__ import annotations

from collections.abc import Mapping

#: Name -> "module:Class" of a ``base.Sink``, made with the folder that it may write into.
SINKS: Mapping[str, str] = {
    "tensorboard": "plasticity_bench.tracking.sinks.tensorboard:TensorBoard",
    "wandb": "plasticity_bench.tracking.sinks.wandb:WeightsAndBiases",
}
