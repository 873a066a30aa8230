"""The tables of docs/findings.md that compare syre with its controls, from the file of syre_controls.py."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from findings_data import Results, paired, table
from syre_controls import DECAYS

from plasticity_bench.stats.inference import holm
from plasticity_bench.stats.ratios import Ratio, ratio_interval
from plasticity_bench.terminal import interval_text, p_text

#: Columns: the levels of DECAYS, and the differences of the last one to the others.
COMPARED = (
    *(f"`{method}`" for method in DECAYS),
    *("`syre` - `l2`", "p (Holm)", "`syre` - `l2-init`", "p (Holm)"),
)
#: The first cells of a row, and the levels of DECAYS; no levels for a row that compares nothing.
Case = tuple[list[str], Sequence[Ratio]]


def strengths(results: Results) -> str:
    """Syre, L2 and L2-init at the same strengths, and averaged over strengths seed by seed."""
    rows, tested = [], []
    for stream in sorted({key[0] for key in results.controls}):
        own = {key[1:]: values for key, values in results.controls.items() if key[0] == stream}
        grid = sorted({key[1] for key in own if key[0] == "l2"}, key=float)
        for chosen in [*([strength] for strength in grid), grid]:
            sides = {
                method: _mean([own[method, strength, sigma] for strength in chosen])
                for method, sigma in (("l2", ""), ("l2-init", ""), ("syre", "0.01"))
            }
            points = [interval_text(ratio_interval([level])) for level in sides.values()]
            differences = [paired(sides["syre"], sides[other]) for other in ("l2", "l2-init")]
            tested += differences
            name = chosen[0] if len(chosen) == 1 else "all"
            rows.append([stream, name, *points, *(interval_text(entry.difference) for entry in differences)])
    to_l2, to_init = (holm([entry.p for entry in tested[i::2]]) for i in (0, 1))
    for row, first, second in zip(rows, to_l2, to_init, strict=True):
        row.insert(6, p_text(first))
        row.append(p_text(second))
    return table(["stream", "strength", *COMPARED], rows)


def crossed(results: Results) -> str:
    """L2, L2-init and syre with the settings that a sweep chose for one of them."""
    cases: list[Case] = [
        (
            [stream, f"lr={rate}, strength={strength}"],
            [results.crossed[stream, method, rate, strength] for method in DECAYS],
        )
        for stream, rate, strength in sorted({(key[0], *key[2:]) for key in results.crossed})
    ]
    return table(["stream", "settings", *COMPARED], _compared(cases))


def forms(results: Results) -> str:
    """Decoupled decay, and decay with SGD, at several strengths."""
    cases: list[Case] = []
    arms = sorted({(key[0], key[3]) for key in results.forms if key[1] == "l2"}, key=lambda arm: arm[::-1])
    for stream, decoupled in arms:
        form = "Adam, decoupled" if decoupled == "True" else "SGD"
        own = {key[1:3]: v for key, v in results.forms.items() if key[0] == stream}
        for method in ("none", "reset"):
            level = interval_text(ratio_interval([own[method, ""]]))
            cases.append(([stream, form, f"`{method}`", level], []))
        for strength in sorted({strength for method, strength in own if method == "l2"}, key=float):
            cases.append(([stream, form, strength, ""], [own[method, strength] for method in DECAYS]))
    return table(["stream", "optimizer", "strength", "level", *COMPARED], _compared(cases))


def _compared(cases: Sequence[Case]) -> list[list[str]]:
    """The rows of ``COMPARED``: Holm's correction is over all of them."""
    found = [[paired(levels[-1], other) for other in levels[:-1]] for _, levels in cases]
    corrected = iter(holm([entry.p for differences in found for entry in differences]))
    rows = []
    for (first, levels), differences in zip(cases, found, strict=True):
        row = [*first, *(interval_text(ratio_interval([level])) for level in levels)]
        for entry in differences:
            row += [interval_text(entry.difference), p_text(next(corrected))]
        rows.append(row + [""] * (len(first) + len(COMPARED) - len(row)))
    return rows


def _mean(runs: Sequence[Ratio]) -> Ratio:
    """Every seed's mean over the runs, which have the same denominators."""
    return Ratio(runs[0].seeds, np.mean([run.numerator for run in runs], axis=0), runs[0].denominator)


def sigmas(results: Results) -> str:
    """Syre with offsets of several sizes compared with no offset, at two strengths and at both together."""
    rows, tested = [], []
    for stream in sorted({key[0] for key in results.controls}):
        own = {key[2:]: v for key, v in results.controls.items() if key[:2] == (stream, "syre")}
        varied = sorted({strength for strength, sigma in own if sigma == "1.0"}, key=float)
        sizes = sorted({sigma for _, sigma in own}, key=float)
        for chosen in [*([strength] for strength in varied), varied]:
            none = _mean([own[strength, "0.0"] for strength in chosen])
            for sigma in sizes:
                values = _mean([own[strength, sigma] for strength in chosen])
                point = interval_text(ratio_interval([values]))
                name = chosen[0] if len(chosen) == 1 else "both"
                rows.append([stream, name, f"{float(sigma):g}", point])
                if float(sigma):
                    tested.append(paired(values, none))
                    rows[-1] += [interval_text(tested[-1].difference), p_text(tested[-1].p)]
                else:
                    rows[-1] += ["", "", ""]
    corrected = iter(holm([entry.p for entry in tested]))
    for row in rows:
        if len(row) == 6:
            row.append(p_text(next(corrected)))
    head = [
        "stream",
        "strength",
        "sigma",
        "level [95% CI]",
        "difference to sigma 0",
        "p",
        "p (Holm)",
    ]
    return table(head, rows)
