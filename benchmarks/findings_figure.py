"""The figure of docs/findings.md: see findings.py."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from findings_data import Controls
from matplotlib.figure import Figure

from plasticity_bench.figures.drawing import save_figure
from plasticity_bench.stats.bootstrap import Interval
from plasticity_bench.stats.ratios import Ratio, ratio_interval


def draw(controls: Controls, path: Path) -> None:
    """The level over the strength of three decays, and over the size of syre's offset."""
    save_figure(lambda: _figure(controls), [path])


def _figure(controls: Controls) -> Any:
    streams = sorted({key[0] for key in controls})
    figure = Figure(figsize=(9.5, 3.3 * len(streams)), layout="constrained")
    grid = figure.subplots(len(streams), 2, squeeze=False)
    colors = {"l2": "#0173b2", "l2-init": "#de8f05", "syre": "#029e73"}
    for (left, right), stream in zip(grid, streams, strict=True):
        own = {key[1:]: values for key, values in controls.items() if key[0] == stream}
        for method, sigma in (("l2", ""), ("l2-init", ""), ("syre", "0.01")):
            points = {float(k[1]): v for k, v in own.items() if k[0] == method and k[2] == sigma}
            _line(left, points, colors[method], "-", method)
        for strength, style in zip(
            sorted({k[1] for k in own if k[2] == "1.0"}, key=float), ("-", "--"), strict=True
        ):
            # A logarithmic axis has no zero: it is drawn at a third of the smallest value.
            points = {float(k[2]) or 0.003: v for k, v in own.items() if k[:2] == ("syre", strength)}
            _line(right, points, colors["syre"], style, f"strength {float(strength):g}")
        left.set(xscale="log", xlabel="strength of the decay", ylabel="level")
        right.set(xscale="log", xlabel="sigma: size of syre's offset (initial standard deviations)")
        right.set_xticks([0.003, 0.01, 0.03, 0.1, 0.3, 1], ["0", "0.01", "0.03", "0.1", "0.3", "1"])
        for axes in (left, right):
            axes.axhline(1, color="0.4", linewidth=1, linestyle="--", zorder=0)
            axes.minorticks_off()
            axes.set_title(stream, loc="left", weight="bold")
            axes.legend(frameon=False, fontsize="small")
    return figure


def _line(axes: Any, points: Mapping[float, Ratio], color: str, style: str, label: str) -> None:
    x = sorted(points)
    found: list[Interval] = [ratio_interval([points[value]]) for value in x]
    middle = [interval.point for interval in found]
    axes.plot(x, middle, style, marker="o", markersize=4, color=color, label=label)
    axes.fill_between(
        x, [i.low for i in found], [i.high for i in found], color=color, alpha=0.15, linewidth=0
    )
