"""Random forgeries of sweeps: a forger can change only values that nobody can check without training.

Deterministic: hypothesis draws the same forgeries at every run.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plasticity_bench.errors import RunFailed
from plasticity_bench.submissions.verify import verify
from plasticity_bench.submissions.writer import rescore
from tests.support.fuzzing import VALUES, copied, fuzzed, places, watched
from tests.support.plugins import GOOD
from tests.support.submission_bench import submit, sweep


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tuned submissions of the same methods."""
    folder = tmp_path_factory.mktemp("tuned")
    (folder / "noise.py").write_text(GOOD)
    for method in ("l2", f"{folder}/noise.py:Noise"):
        submit(
            folder / "submissions", folder / "runs", method, tuned=sweep(folder / "sweeps", method, budget=3)
        )
    return folder / "submissions"


def without_measurements(table: dict[str, Any]) -> dict[str, Any]:
    """A sweep's table without measurements; of a plug-in also without what only its code gives."""
    rows = [{key: row[key] for key in ("settings", "label", "cell")} for row in table["configurations"]]
    if table["method"] == "noise":
        for row in rows:
            del row["label"]
        if table["chosen"] != 0:
            del rows[0]["cell"]
        return {**table, "configurations": rows, "design": None}
    return {**table, "configurations": rows}


@fuzzed
@given(st.data())
def test_a_forger_of_a_sweep_changes_only_what_was_measured(tuned: Path, data: st.DataObject) -> None:
    """The forger also updates checksums and documents (``rescore``).

    Then the forgery is refused, or it has changed nothing but measurements.
    """
    with copied(tuned) as folder:
        name = data.draw(st.sampled_from(["l2-tuned", "noise-tuned"]))
        (path,) = (folder / name).rglob("tuning.json")
        before = json.loads(path.read_text())
        document = copy.deepcopy(before)
        for _ in range(data.draw(st.integers(1, 3))):
            place = data.draw(st.sampled_from(places(document)), label="place")
            inner: Any = document
            for key in place[:-1]:
                inner = inner[key]
            action = data.draw(st.sampled_from(["replace", "swap", "drop", "add"]))
            if action == "drop":
                del inner[place[-1]]
                if not document:
                    break
            elif action == "add" and isinstance(inner, dict):
                inner[data.draw(st.text(max_size=8))] = data.draw(VALUES)
            elif action == "swap":
                other = data.draw(st.sampled_from(places(before)))
                value: Any = before
                for key in other:
                    value = value[key]
                inner[place[-1]] = copy.deepcopy(value)
            else:
                inner[place[-1]] = copy.deepcopy(data.draw(VALUES))
        path.write_text(json.dumps(document), encoding="utf-8", errors="surrogatepass")
        refused = ""
        try:
            rescore([folder / name])
        except RunFailed as error:
            refused = str(error)
        if refused:
            assert refused.isprintable()
            assert document != before
            return
        with watched(folder):
            assert verify([folder / name]).problems == []
        assert without_measurements(document) == without_measurements(before)
