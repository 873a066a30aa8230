"""Blocks: parameters in few pieces, and the tensors that methods keep for them."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from plasticity_bench.agents.blocks import Aligned, Scratch, blocks
from plasticity_bench.agents.layers import parameters
from plasticity_bench.agents.networks import StackedNetwork
from plasticity_bench.agents.rng import SeedRng
from plasticity_bench.specs import NetworkSpec
from tests.support.learners import learner
from tests.support.paths import REPOSITORY

PLAIN, NORMALISED = NetworkSpec((6,), 4, (7, 5)), NetworkSpec((6,), 4, (7, 5), norm="layer")


def network(spec: NetworkSpec) -> StackedNetwork:
    return StackedNetwork(spec, SeedRng((0, 1, 2), "init"), torch.device("cpu"), torch.float32)


@pytest.mark.parametrize(("spec", "expected"), [(PLAIN, 1), (NORMALISED, 3)])
@torch.no_grad()
def test_blocks_hold_weights_and_biases_and_no_gain_or_shift(spec: NetworkSpec, expected: int) -> None:
    made = network(spec)
    found = blocks(made.layers)
    assert len(found) == expected
    for block in found:
        block.fill_(3)
        assert block.grad is not None
        block.grad.fill_(5)
    for layer in made.layers:
        for parameter in layer.trainable():
            touched = any(parameter is own for own in layer.parameters())
            assert parameter.grad is not None
            assert bool((parameter == 3).all()) == touched
            assert bool((parameter.grad == 5).all()) == touched
    (everything,) = blocks(made.layers, "trainable")
    assert everything.shape == made.flat.shape
    assert everything.data_ptr() == made.flat.data_ptr()


@pytest.mark.parametrize("spec", [PLAIN, NORMALISED])
@pytest.mark.parametrize("apart", [False, True])
@torch.no_grad()
def test_aligned_tensors_lie_as_the_parameters_do(spec: NetworkSpec, apart: bool) -> None:
    made = network(spec)
    layers = list(made.layers) if apart else made.layers  # a plain list: parameters that lie apart
    kept = Aligned.copied(layers)
    for block, own in zip(kept.blocks, blocks(layers), strict=True):
        assert torch.equal(block, own)
        block.add_(1)
    for tensor, parameter in zip(kept, parameters(layers), strict=True):
        assert torch.equal(tensor, parameter + 1)
    other = Aligned(layers)
    file = io.BytesIO()
    torch.save(kept.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    for found, expected in zip(other.blocks, kept.blocks, strict=True):
        assert found.shape == expected.shape
    for found, expected in zip(other, kept, strict=True):
        assert torch.equal(found, expected)
    assert not Scratch(layers).state_dict()


@pytest.mark.parametrize("name", ["cbp:rate=1e-3", "snr:limit=200"])
@pytest.mark.parametrize("room", [0, 2**13])
def test_averages_do_not_depend_on_how_many_updates_are_taken_at_once(
    name: str, room: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def trained() -> torch.Tensor:
        made = learner(name)
        while made.task < 2:
            made.advance()
        return made.network.flat.clone()

    usual = trained()
    monkeypatch.setattr("plasticity_bench.agents.methods.units.ROOM", room)
    assert torch.equal(trained(), usual)


def test_normal_numbers_are_drawn_in_place_or_not_alike() -> None:
    drawn = SeedRng((4, 5), "method").normal(torch.empty(2, 3, 7))
    own, strided = torch.empty(2, 3, 7), torch.empty(2, 7, 3).mT
    for into in (own, strided):
        SeedRng((4, 5), "method").normal_(into)
        assert torch.equal(into, drawn)


def test_method_cost_prints_a_row_for_every_method(tmp_path: Path) -> None:
    command = [sys.executable, str(REPOSITORY / "benchmarks" / "method_cost.py"), "l2", "redo:period=100"]
    sizes = ["--seeds", "2", "--repeats", "2", "--tasks", "1"]
    done = subprocess.run(
        [*command, *sizes, "--json", str(tmp_path / "cost.json")],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert [line.split(" | ")[0] for line in done.stdout.splitlines()[-3:]] == [
        "| none",
        "| l2",
        "| redo:period=100",
    ]
    assert (tmp_path / "cost.json").exists()
    refused = subprocess.run([*command, "--stream", "ant"], capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert "only supervised streams" in refused.stderr
