"""The performance report: the order of contestants, the operations of the limit, and the document."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import __main__ as report
from benchmarks.peers import Trained, ours, plain, seed_data
from benchmarks.products import Limit, Product, operations, products
from benchmarks.sections import SECTIONS, Section
from benchmarks.timing import Spent, interleave
from benchmarks.training_speed import chosen, differences
from plasticity_bench.specs import NetworkSpec
from tests.support.paths import REPOSITORY


def test_every_repeat_begins_with_another_contestant_and_the_first_round_is_not_counted() -> None:
    calls: list[str] = []

    def contestant(name: str) -> int:
        calls.append(name)
        return len(calls)

    found = interleave({name: lambda name=name: contestant(name) for name in "abc"}, 2)  # type: ignore[misc]
    assert calls == ["c", "a", "b", "a", "b", "c", "b", "c", "a"]
    assert found == {"a": [4, 9], "b": [5, 7], "c": [6, 8]}


@pytest.mark.parametrize(
    "spec", [NetworkSpec((6,), 4, (7, 5)), NetworkSpec((2, 14, 14), 4, (7,), channels=(3, 5), kernel=3)]
)
def test_the_limit_counts_every_product_of_a_step(spec: NetworkSpec) -> None:
    """Against torch's own count of a network's forward and backward pass."""
    from torch.utils.flop_counter import FlopCounterMode

    layers: list[torch.nn.Module] = []
    channels = spec.inputs[0]
    for out in spec.channels:
        layers += [torch.nn.Conv2d(channels, out, spec.kernel), torch.nn.ReLU(), torch.nn.MaxPool2d(2)]
        channels = out
    layers.append(torch.nn.Flatten())
    width = torch.nn.Sequential(*layers)(torch.zeros(1, *spec.inputs)).shape[1]
    for out in (*spec.hidden, spec.outputs):
        layers += [torch.nn.Linear(width, out), torch.nn.ReLU()]
        width = out
    model, batch = torch.nn.Sequential(*layers[:-1]), 8
    with FlopCounterMode(display=False) as counter:
        model(torch.randn(batch, *spec.inputs)).sum().backward()
    assert operations(products(spec, batch)) == counter.get_total_flops()
    with FlopCounterMode(display=False) as counter:
        model(torch.randn(batch, *spec.inputs))
    assert operations(products(spec, batch, training=False)) == counter.get_total_flops()


def test_stacked_and_single_products_are_the_same() -> None:
    wanted = [Product(3, 4, 5, "right"), Product(5, 3, 4, "left"), Product(3, 5, 4)]
    stacked, single = Limit(wanted, 2, batched=True), Limit(wanted, 2, batched=False)
    made = [call() for call in stacked.work]
    apart = [call() for call in single.work]
    assert [tuple(result.shape) for result in made] == [(2, 3, 5), (2, 5, 4), (2, 3, 4)]  # type: ignore[attr-defined]
    for i, together in enumerate(made):
        assert isinstance(together, torch.Tensor)
        for s in range(2):
            single_one = apart[2 * i + s]
            assert isinstance(single_one, torch.Tensor)
            torch.testing.assert_close(together[s], single_one)


def test_the_plain_loop_learns_what_we_learn() -> None:
    full, stream = chosen("permuted-digits:tasks=2", 32)
    mine = ours(stream, full.steps, 2, 1)
    theirs = plain(seed_data(stream, full.steps, 2, 1))
    assert mine.steps == theirs.steps == 2 * stream.steps
    assert not differences(mine, {"plain": theirs})
    wrong = Trained(theirs.steps, theirs.total, theirs.ends, [[0.1], [0.1]], [], full.steps)
    assert len(differences(mine, {"plain": wrong})) == 2


def test_the_end_of_a_short_task_counts_as_that_of_a_full_one() -> None:
    # 10 steps in 3 s and an end of 2 s; a full task has 100 steps.
    short = Trained(10, Spent(5.0, 5.0), Spent(2.0, 2.0), [[0.5]], [], 100)
    assert short.per_step == pytest.approx(0.3 + 0.02)


def result_of(section: Section, numbers: dict[str, Any], text: str = "| printed |\n") -> dict[str, Any]:
    return {
        "command": f"python -m benchmarks.{section.module}",
        "date": "2026-01-02",
        "quick": False,
        "seconds": 3.2,
        "code": 0,
        "text": text,
        "numbers": numbers,
    }


def stacks(plain_loop: float, avalanche: float) -> dict[str, Any]:
    against = {"plain loop": [plain_loop] * 3, "Avalanche Naive": [avalanche] * 3}
    return {"stacks": {"16 seeds": {"against": against, "limit, seed by seed": [0.5]}}}


def test_the_document_says_which_bars_are_met() -> None:
    by_name = {section.name: section for section in SECTIONS}
    records = "10000 tables of 100 to 300 tasks\n| call | wall s |\n| 1 | 12.5 | 3 |\n| 2 | 31.0 | 3 |\n"
    text = report.document(
        {
            "digits": result_of(by_name["digits"], stacks(9.0, 17.0)),
            "records": result_of(by_name["records"], {}, records),
            "start": result_of(by_name["start"], {"commands": {"--help": [0.1, 0.2, 0.9]}}),
        }
    )
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert "| permuted-digits, 16 seeds, against the plain loop | at least 8.00x | 9.00x | met |" in rows
    assert "| permuted-digits, 16 seeds, against Avalanche | at least 18.00x | 17.00x | **missed** |" in rows
    assert "| 10,000 runs scored and drawn | at most 30.0 s | 31.0 s | **missed** |" in rows
    assert "| `--help` | at most 0.50 s | 0.20 s | met |" in rows
    assert "| `list` | at most 0.50 s | | not measured |" in rows
    few = report.document({"records": result_of(by_name["records"], {}, records[5:])})
    assert "| 10,000 runs scored and drawn | at most 30.0 s | | not measured |" in few
    assert text.count("Not measured yet.") == len(SECTIONS) - 3
    assert all(f"## {section.title}" in text for section in SECTIONS)


def test_measuring_one_section_keeps_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "performance.md"

    def measured(section: Section, quick: bool, clone: Path | None) -> dict[str, Any]:
        assert quick
        return result_of(section, {}, f"| {section.name}, measured |\n") | {
            "code": int(section.name == "ppo")
        }

    monkeypatch.setattr(report, "measure", measured)
    assert report.main(["growth", "--quick", "--out", str(out)]) == 0
    assert report.main(["ppo", "--quick", "--out", str(out)]) == 1
    text = out.read_text()
    assert "| growth, measured |" in text
    assert "| ppo, measured |" in text
    assert "exit code 1" in text
    assert set(json.loads((tmp_path / "data" / "performance.json").read_text())) == {"growth", "ppo"}


def test_the_committed_document_is_that_of_the_committed_results() -> None:
    results = json.loads((REPOSITORY / "docs" / "data" / "performance.json").read_text())
    assert (REPOSITORY / "docs" / "performance.md").read_text() == report.document(results)


def test_unknown_sections_and_a_missing_clone_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    for given, said in ((["digit"], "unknown section digit"), (["public"], "needs --clone")):
        with pytest.raises(SystemExit) as ended:
            report.main(given)
        assert ended.value.code == 2
        assert said in capsys.readouterr().err


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.name)
def test_sections_name_scripts_that_exist(section: Section) -> None:
    assert importlib.util.find_spec(f"benchmarks.{section.module}") is not None
